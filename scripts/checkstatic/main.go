package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
)

func main() {
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "checkstatic: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

// check returns an error when the program at path needs a loader or a library.
func check(path string) (err error) {
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("open program: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("asks for a dynamic loader")
		}
	}
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read libraries: %w", err)
	}
	if len(libraries) > 0 {
		return fmt.Errorf("needs libraries %v", libraries)
	}
	return nil
}

// Command demo shows edgenet's main job on this machine: four hosts in network
// namespaces, a real mesh, real tunnels, and two tenants with the same
// addresses. It ends with 0 only if all that it shows was really observed, and
// leaves nothing behind. With -keep it leaves the hosts running in the
// background until demo -stop.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/agent"
)

func main() {
	agent.RunIfAsked()
	keep := flag.Bool("keep", false, "leave the hosts running in the background, and say how to talk to them")
	stop := flag.Bool("stop", false, "take down the hosts that an earlier -keep left running")
	holder := flag.Bool("holder", false, "used by -keep: be the process in the background")
	flag.Parse()
	var err error
	switch {
	case *stop:
		err = stopHolder()
	case *keep:
		err = startHolder()
	case *holder:
		err = hold()
	default:
		err = show(os.Stdout, nil)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// show runs the demo. wait, if there is one, is called before the hosts are
// taken down, with what they are.
func show(out io.Writer, wait func([]*lab.Host, []*lab.Container)) error {
	lab.Sweep()
	remove, err := lab.Build()
	if err != nil {
		return err
	}
	defer remove()
	story := &story{out: out}
	err = lab.Run("demo", out, func(t lab.TB) {
		story.tell(t)
		if wait != nil && !t.Failed() {
			wait(story.hosts, story.containers)
		}
	})
	if err != nil {
		return fmt.Errorf("not all of it was observed:\n%w", err)
	}
	story.say("")
	story.say("All of it was observed, and nothing is left behind.")
	return nil
}

// hold shows the demo, tells the process that started it, and keeps the hosts
// until a signal.
func hold() error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	return show(os.Stdout, func(hosts []*lab.Host, containers []*lab.Container) {
		if err := writeHolder(); err != nil {
			fmt.Println(err)
			return
		}
		defer removeHolder()
		explain(os.Stdout, hosts, containers)
		fmt.Println(endOfShow)
		if err := fallSilent(); err != nil {
			fmt.Println(err)
			return
		}
		<-ended
	})
}

package health

import (
	"fmt"
	"strings"
	"time"
)

// shown is how many names a sentence has.
const shown = 5

// name is what people call a node.
func (j *judge) name(id string) string {
	if n := j.nodes[id]; n != nil {
		return n.Name
	}
	return id
}

func (j *judge) names(ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, j.name(id))
	}
	return out
}

// list names nodes in a sentence: the first ones, and how many more there are. The node
// that looks is "this node", and comes first.
func (j *judge) list(ids []string) string {
	var words []string
	for _, id := range ids {
		if id == j.Self {
			words = append([]string{"this node"}, words...)
		} else {
			words = append(words, j.name(id))
		}
	}
	if len(words) > shown+1 {
		words = append(words[:shown], fmt.Sprintf("%d more", len(words)-shown))
	}
	return enumerate(words)
}

func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// counted is a number with the word for one or for several.
func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// verb is the form for one or for several.
func verb(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// long is a time in words, in its largest unit.
func long(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Abs(); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d/day))
}

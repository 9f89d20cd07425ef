package health

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

const (
	// maxFindings is how many findings are told, maxOfKind how many of one kind.
	maxFindings = 200
	maxOfKind   = 40
	// maxNames is how many nodes a finding names for programs.
	maxNames = 32
)

// judge is a judgement in the making.
type judge struct {
	*Mesh
	found []*api.Finding
}

// Judge says what is wrong, the worst first.
func Judge(m *Mesh) []*api.Finding {
	j := &judge{Mesh: m}
	j.views()
	j.pairs()
	j.silence()
	j.clocks()
	j.certificates()
	j.versions()
	j.refusals()
	j.room()
	j.endpoints()
	j.problems()
	slices.SortStableFunc(j.found, func(a, b *api.Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return bounded(j.found)
}

func rank(f *api.Finding) int { return slices.Index([]string{Error, Warning, Note}, f.GetSeverity()) }

// bounded leaves out what is too much, and says so.
func bounded(found []*api.Finding) []*api.Finding {
	of := map[string]int{}
	out := found[:0:0]
	for _, f := range found {
		if of[f.GetKind()]++; of[f.GetKind()] <= maxOfKind && len(out) < maxFindings-1 {
			out = append(out, f)
		}
	}
	if more := len(found) - len(out); more > 0 {
		left := found[len(found)-1]
		for _, f := range found { // as bad as the worst of those left out
			if !slices.Contains(out, f) {
				left = f
				break
			}
		}
		out = append(out, &api.Finding{
			Severity: left.GetSeverity(), Kind: "more", Message: counted(more, "more finding is", "more findings are") + " left out",
			Advice: "mend what is listed, and ask again",
		})
	}
	return out
}

// finding is an api.Finding in the making: about and by are ids.
type finding struct {
	severity, kind, message, advice string
	since                           time.Time
	about, by                       []string
}

func (j *judge) say(f finding) {
	out := &api.Finding{
		Severity: f.severity, Kind: f.kind, Message: f.message, Advice: f.advice,
		Nodes: j.names(first(f.about, maxNames)),
	}
	if !f.since.IsZero() {
		out.Since = timestamppb.New(f.since)
	}
	if !slices.Contains(f.by, j.Self) {
		out.SaidBy = j.names(first(f.by, maxNames))
	}
	j.found = append(j.found, out)
}

// reporters are those who say something, by name, the one that looks among them.
func (j *judge) reporters() []string {
	ids := make([]string, 0, len(j.Reports))
	for id := range j.Reports {
		if j.nodes[id] != nil {
			ids = append(ids, id)
		}
	}
	return j.sorted(ids)
}

// sorted sorts ids by the names of their nodes.
func (j *judge) sorted(ids []string) []string {
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(cmp.Compare(j.name(a), j.name(b)), cmp.Compare(a, b)) })
	return ids
}

// before is how long ago something was.
func (j *judge) before(d time.Duration) time.Time { return j.Now.Add(-d) }

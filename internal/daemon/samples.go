package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"edgenet.dev/edgenet/pkg/isolation"
)

// maxSamples is how many flows are kept of each VPC that a candidate judges
// otherwise.
const maxSamples = 20

// sample is such a flow, with the names of the rules that decide.
type sample struct {
	isolation.Event
	rule, candidate string
}

// samples keeps the latest ones.
type samples struct {
	mu sync.Mutex
	// byVNI has the latest one last.
	byVNI map[uint32][]sample
	// stop ends the watch; it is nil while there is none.
	stop context.CancelFunc
	// watched is the datapath that is watched.
	watched Datapath
}

// follow watches while there is something to watch for.
func (s *samples) follow(datapath Datapath, wanted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil && (!wanted || s.watched != datapath) {
		s.stop()
		s.stop, s.watched = nil, nil
	}
	if !wanted || s.stop != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	watch, err := datapath.Watch(ctx, isolation.EventShadow)
	if err != nil {
		cancel()
		return fmt.Errorf("watch for what candidate rules judge otherwise: %w", err)
	}
	s.stop, s.watched = cancel, datapath
	go func() {
		// It ends with the watch, and that at the latest with the datapath.
		for event := range watch.Events() {
			s.add(sample{
				Event: event, rule: nameOf(datapath, event.Rule), candidate: nameOf(datapath, event.Shadow),
			})
		}
		cancel()
	}()
	return nil
}

// nameOf is a rule as people name it.
func nameOf(datapath Datapath, number uint32) string {
	if rule, ok := datapath.RuleOf(number); ok {
		return ruleKey(rule.Group, rule.ID)
	}
	return "default"
}

func (s *samples) add(one sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byVNI == nil {
		s.byVNI = map[uint32][]sample{}
	}
	kept := append(s.byVNI[one.Endpoint.VNI], one)
	if more := len(kept) - maxSamples; more > 0 {
		kept = slices.Delete(kept, 0, more)
	}
	s.byVNI[one.Endpoint.VNI] = kept
}

func (s *samples) of(vni uint32) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.byVNI[vni])
}

func (s *samples) forget(vni uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byVNI, vni)
}

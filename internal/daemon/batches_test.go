package daemon

import (
	"testing"
	"time"

	"edgenet.dev/edgenet/internal/records"
)

// changed is a state of a group, of a batch if size is not 0.
func changed(name string, batch uint64, size uint32) *group {
	g := &group{vni: 1, name: name, record: &records.Group{}}
	if size > 0 {
		g.record.Batch = &records.Batch{Id: batch, Size: size}
	}
	return g
}

func TestABatchComesIntoForceInOneMoment(t *testing.T) {
	b, start := newBatches(), time.Unix(1000, 0)
	oldWeb, oldDB := changed("web", 0, 0), changed("db", 0, 0)
	b.update(nil, []*group{oldWeb, oldDB}, start, vnis{})
	newWeb, newDB := changed("web", 7, 2), changed("db", 7, 2)

	news := vnis{}
	b.update([]*group{oldWeb}, []*group{newWeb}, start, news)
	if b.inForce(newWeb) != oldWeb || b.inForce(oldDB) != oldDB || len(news) > 0 {
		t.Error("half of a batch is in force")
	}
	b.update([]*group{oldDB}, []*group{newDB}, start.Add(time.Second), news)
	if b.inForce(newWeb) != newWeb || b.inForce(newDB) != newDB || !news[1] {
		t.Errorf("the whole batch is not in force; news of %v", news)
	}
	// What comes later counts by itself, and the other stays.
	laterDB := changed("db", 0, 0)
	b.update([]*group{newDB}, []*group{laterDB}, start.Add(2*time.Second), news)
	if b.inForce(laterDB) != laterDB || b.inForce(newWeb) != newWeb {
		t.Error("a batch was taken back")
	}
	b.update([]*group{newWeb, laterDB}, nil, start.Add(3*time.Second), news)
	if len(b.held)+len(b.come) > 0 {
		t.Errorf("it still remembers %v and %v", b.held, b.come)
	}
}

func TestABatchWaitsABoundedTime(t *testing.T) {
	b, start := newBatches(), time.Unix(1000, 0)
	older, half, next := changed("web", 0, 0), changed("web", 7, 2), changed("web", 8, 2)
	b.update(nil, []*group{older}, start, vnis{})
	b.update([]*group{older}, []*group{half}, start, vnis{})
	// Another half of a batch in its place: what is in force stays.
	b.update([]*group{half}, []*group{next}, start.Add(time.Second), vnis{})
	if b.inForce(next) != older {
		t.Error("half of the first batch is in force")
	}
	news := vnis{}
	b.update(nil, nil, start.Add(together), news)
	if b.inForce(next) != older || len(news) > 0 {
		t.Error("the second batch did not wait as long as the first")
	}
	b.update(nil, nil, start.Add(time.Second+together), news)
	if b.inForce(next) != next || !news[1] {
		t.Error("a batch waits for good")
	}
}

// A start knows no state before: what is there counts.
func TestAStartWaitsForNoBatch(t *testing.T) {
	b, half := newBatches(), changed("web", 7, 2)
	b.update(nil, []*group{half}, time.Unix(1000, 0), vnis{})
	if b.inForce(half) != half {
		t.Error("a group has no state at all")
	}
}

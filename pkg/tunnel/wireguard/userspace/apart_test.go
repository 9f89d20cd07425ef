package userspace

import (
	"slices"
	"testing"
)

func TestAPieceHasPacketsOfOneSize(t *testing.T) {
	const buffer = 1000
	for _, c := range []struct {
		name       string
		sizes, cap []int
	}{
		{"none", nil, nil},
		{"one", []int{100}, []int{100}},
		{"equal ones", []int{100, 100, 100}, []int{300, 200, 100}},
		{"a smaller one behind", []int{100, 100, 60}, []int{200, 100, 60}},
		{"a larger one behind", []int{60, 100, 100}, []int{60, 200, 100}},
		{"more than a buffer has room for", []int{400, 400, 400, 10}, []int{1000, 800, 400, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			packets := make([][]byte, len(c.sizes))
			for i, size := range c.sizes {
				packets[i] = make([]byte, size, buffer)
			}
			keepApart(packets)
			var sizes, room []int
			for _, p := range packets {
				sizes, room = append(sizes, len(p)), append(room, cap(p))
			}
			if !slices.Equal(sizes, c.sizes) || !slices.Equal(room, c.cap) {
				t.Errorf("sizes %d have room %d, want sizes %d, room %d", sizes, room, c.sizes, c.cap)
			}
		})
	}
}

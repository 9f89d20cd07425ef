package main

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"edgenet.dev/edgenet/test/sim"
)

// figure is a plot.
type figure struct {
	file, title string
	x, y        string
	logX        bool
	curves      func([]*sim.Result) []curve
}

// curve is one line of a plot.
type curve struct {
	name   string
	points plotter.XYs
	bare   bool // without marks at its points
}

// plots are all plots.
var plots = []figure{
	{"spread.png", "A change on its way", "seconds", "% of nodes", false, spread},
	{"bytes.png", "What a node sends", "nodes", "bytes per second", true, func(rs []*sim.Result) []curve {
		curves := []curve{{name: "at rest, all"}, {name: "1 % change per minute, all"}}
		for _, r := range rs {
			if r.Rest != nil {
				curves[0].add(r, r.Rest.Bytes())
			}
			if r.Churn != nil {
				curves[1].add(r, r.Churn.Load.Bytes())
			}
		}
		for _, kind := range sim.Kinds {
			c := curve{name: "at rest, " + kind}
			for _, r := range rs {
				if r.Rest != nil {
					c.add(r, r.Rest.Sent[kind].Bytes)
				}
			}
			curves = append(curves, c)
		}
		return curves
	}},
	{"processor.png", "What a node takes of a processor", "nodes", "%", true, func(rs []*sim.Result) []curve {
		curves := []curve{{name: "at rest"}, {name: "1 % change per minute"}}
		for _, r := range rs {
			if r.Rest != nil {
				curves[0].add(r, 100*r.Rest.Processor)
			}
			if r.Churn != nil {
				curves[1].add(r, 100*r.Churn.Load.Processor)
			}
		}
		return curves
	}},
	{"memory.png", "What a node takes of memory", "nodes", "MB", true, func(rs []*sim.Result) []curve {
		c := curve{name: "heap and stacks"}
		for _, r := range rs {
			if r.Rest != nil {
				c.add(r, r.Rest.Memory/1e6)
			}
		}
		return []curve{c}
	}},
}

func (c *curve) add(r *sim.Result, y float64) {
	c.points = append(c.points, plotter.XY{X: float64(r.Nodes), Y: y})
}

// spread shows how single changes reached nodes.
func spread(rs []*sim.Result) []curve {
	var out []curve
	for _, r := range rs {
		if r.Changes == nil {
			continue
		}
		c := curve{name: fmt.Sprintf("%d nodes", r.Nodes), bare: true}
		for i, s := range r.Changes.Quantiles {
			if s >= 0 {
				c.points = append(c.points, plotter.XY{X: s, Y: float64(i)})
			}
		}
		out = append(out, c)
	}
	return out
}

// draw draws a plot into a PNG file.
func (f figure) draw(results []*sim.Result, path string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.title, f.x, f.y
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, f.logX
	if !f.logX {
		p.Legend.Top = false
	}
	p.Add(plotter.NewGrid())
	for i, c := range f.curves(results) {
		if len(c.points) == 0 {
			continue
		}
		line, marks, err := plotter.NewLinePoints(c.points)
		if err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
		line.Color, marks.Color, marks.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		p.Legend.Add(c.name, line)
		p.Add(line)
		if !c.bare {
			p.Add(marks)
		}
	}
	if f.logX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, ticks(results)
	}
	if err := p.Save(16*vg.Centimeter, 10*vg.Centimeter, path); err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return nil
}

// ticks marks the numbers of nodes that were measured.
func ticks(results []*sim.Result) plot.ConstantTicks {
	var out plot.ConstantTicks
	for _, r := range results {
		out = append(out, plot.Tick{Value: float64(r.Nodes), Label: fmt.Sprint(r.Nodes)})
	}
	return out
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What an agent at rest may differ from itself at rest before. Go's heap comes and goes by the megabyte, and a few tries may
// still be under way, each with its connection; whatever leaks does so in every cycle.
const (
	maxGrowth      = 3.0 // MiB, from the mean of the first half of the cycles to that of the second
	maxGoroutines  = 8
	maxDescriptors = 5
)

// report is an agent at rest.
type report struct {
	cycle       int
	resident    float64 // MiB, of the process
	live        float64 // MiB, of what the last collection found in use
	idle        float64 // MiB, of memory that Go keeps for later
	stacks      float64 // MiB
	goroutines  int
	descriptors int
}

// look waits until the agent has nothing to do, and then measures it. A connection's end takes a moment, so it looks until
// two looks in a row say the same.
func (s *soak) look(ctx context.Context) (report, error) {
	var last report
	err := until(ctx, time.Minute, func() error {
		time.Sleep(quiet)
		r, err := s.measure()
		if err != nil {
			return err
		}
		steady := r.goroutines == last.goroutines && r.descriptors == last.descriptors
		last = r
		if !steady {
			return fmt.Errorf("the agent does not come to rest: %d goroutines, %d descriptors", r.goroutines, r.descriptors)
		}
		return nil
	})
	return last, err
}

func (s *soak) measure() (r report, err error) {
	c, err := dial(s.socket)
	if err != nil {
		return r, err
	}
	defer c.Close()
	page, err := c.collected()
	if err != nil {
		return r, err
	}
	r.live = page["go_gc_heap_live_bytes"] / mib
	r.idle = (page["go_memstats_heap_idle_bytes"] - page["go_memstats_heap_released_bytes"]) / mib
	r.stacks = page["go_memstats_stack_inuse_bytes"] / mib
	r.goroutines = int(page["go_goroutines"])
	if r.live == 0 || r.goroutines == 0 {
		return r, errors.New("the page of metrics has no live heap, or no number of goroutines")
	}
	proc := "/proc/" + strconv.Itoa(s.agent.Process.Pid)
	open, err := os.ReadDir(proc + "/fd") // the agent cannot be dumped, so that this takes root
	if err != nil {
		return r, err
	}
	r.descriptors = len(open)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return r, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	r.resident = kib * 1024 / mib
	return r, err
}

const mib = 1 << 20

// collections is how often the garbage collector has to come by until the live heap is what is in use: the first round
// finds what nobody reaches any more and has it cleared, the second one frees it, and the third one does not see it.
const collections = 3

// collected reads the metrics, again and again until the agent's garbage collector has come by: what it allocates for the
// answers brings the collector about.
func (c *conn) collected() (map[string]float64, error) {
	for begun := -1.0; ; {
		page, err := c.metrics()
		if err != nil {
			return nil, err
		}
		rounds, counted := page["go_gc_duration_seconds_count"]
		switch {
		case !counted:
			return nil, errors.New("the page of metrics does not count collections")
		case begun < 0:
			begun = rounds
		case rounds >= begun+collections:
			return page, nil
		}
	}
}

// metrics reads the series that have no labels.
func (c *conn) metrics() (map[string]float64, error) {
	status, page, err := c.exchange(http.MethodGet, "/metrics", "")
	if err != nil || status != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("metrics: status %d", status))
	}
	series := map[string]float64{}
	for line := range strings.SplitSeq(string(page), "\n") {
		name, number, _ := strings.Cut(line, " ")
		if value, err := strconv.ParseFloat(number, 64); err == nil {
			series[name] = value
		}
	}
	return series, nil
}

func (s *soak) print(reports []report) {
	fmt.Printf("%-6s %12s %10s %10s %10s %12s %12s\n", "cycle", "resident MiB", "live heap", "idle heap", "stacks", "goroutines", "descriptors")
	for _, r := range reports {
		fmt.Printf("%-6d %12.1f %10.3f %10.2f %10.2f %12d %12d\n", r.cycle, r.resident, r.live, r.idle, r.stacks, r.goroutines, r.descriptors)
	}
	var kinds []string
	for kind, n := range s.asked {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(kinds)
	fmt.Printf("lookups: %s; %d rotations, %d configurations\n", strings.Join(kinds, ", "), s.version, s.reloads)
}

// judge compares the cycles. The first one warms up, and does not count.
func (s *soak) judge(reports []report) error {
	reports = reports[1:]
	first, last := reports[0], reports[len(reports)-1]
	mean := func(part []report) (sum float64) {
		for _, r := range part {
			sum += r.resident
		}
		return sum / float64(len(part))
	}
	half := len(reports) / 2
	most := maxGrowth
	if len(reports) < 4 {
		most *= 2 // too few for the means to tell much
	}
	var problems []error
	if grown := mean(reports[half:]) - mean(reports[:half]); grown > most {
		problems = append(problems, fmt.Errorf("the agent grew by %.1f MiB", grown))
	}
	if n := last.goroutines - first.goroutines; n > maxGoroutines {
		problems = append(problems, fmt.Errorf("%d goroutines more than after the second cycle", n))
	}
	if n := last.descriptors - first.descriptors; n > maxDescriptors {
		problems = append(problems, fmt.Errorf("%d descriptors more than after the second cycle", n))
	}
	for _, wrong := range s.wrong {
		problems = append(problems, errors.New(wrong))
	}
	if s.asked["found"] == 0 {
		problems = append(problems, errors.New("nothing was found: the run tells nothing"))
	}
	return errors.Join(problems...)
}

package main

import (
	"context"
	"errors"
	"fmt"
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
	resident    float64 // MiB
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
	_, page, err := c.exchange("GET", "/metrics", "")
	if err != nil {
		return r, err
	}
	for line := range strings.SplitSeq(string(page), "\n") {
		if number, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			r.goroutines, err = strconv.Atoi(number)
		}
	}
	if err != nil || r.goroutines == 0 {
		return r, errors.Join(err, errors.New("the page of metrics has no number of goroutines"))
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
	r.resident = kib / 1024
	return r, err
}

func (s *soak) print(reports []report) {
	fmt.Printf("%-8s %12s %12s %12s\n", "cycle", "resident MiB", "goroutines", "descriptors")
	for _, r := range reports {
		fmt.Printf("%-8d %12.1f %12d %12d\n", r.cycle, r.resident, r.goroutines, r.descriptors)
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

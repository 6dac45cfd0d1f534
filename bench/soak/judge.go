package main

import (
	"cmp"
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

// limits are how much more an agent at rest may have in the later half of its cycles than in the earlier one, by the lowest
// figure of each half: what is above the lowest comes and goes. Vaults that a reload replaced are still being asked for up to
// a minute where the SDK tries again, and hold what they held.
type limits struct {
	resident, live          float64 // MiB
	goroutines, descriptors float64
}

// Of a run of minutes, two cycles warm up, in which the resident memory grows by some MiB and the live heap from 2.7 to
// 3.3 MiB, and eight count. Without a leak the live heap's lowest figures were seen to differ by -0.3 to 0.1 MiB. What is
// lost in each cycle makes four times as much between the halves: 200 KB, a descriptor or a goroutine are seen for sure.
var long = limits{resident: 3, live: 0.3, goroutines: 2, descriptors: 2}

// A run of seconds shows what leaks by the request: its memory is still warming up.
var short = limits{resident: 8, live: 1.5, goroutines: maxGoroutines, descriptors: 4}

// maxGoroutines is by how much an agent at rest was seen to differ from one after its first cycle: two for each connection to
// a vault or its login.
const maxGoroutines = 5

const fewCycles = 8

// report is an agent at rest.
type report struct {
	cycle       int
	resident    float64 // MiB, of the process
	live        float64 // MiB, of what the last collection found in use
	idle        float64 // MiB, of memory that Go keeps for later
	stacks      float64 // MiB
	goroutines  int
	flights     int // secrets that the vault is being asked for
	descriptors int // but for those of callers
	callers     int // connections on its socket, but for the one that looks
}

// lettingGo is the longest that a vault which a reload replaced is still asked for what somebody asked of it: the agent gives
// it a minute.
const lettingGo = 70 * time.Second

// look waits until the agent has nothing to do, and then measures it. A connection's end takes a moment, so it looks until
// two looks in a row say the same. Goroutines that were not there after the first cycle may be tries of the SDK, for a vault
// that a reload replaced; those that stay for longer are a leak.
func (s *soak) look(ctx context.Context, first report) (report, error) {
	var last report
	err := until(ctx, lettingGo, func() error {
		time.Sleep(quiet)
		r, err := s.measure()
		if err != nil {
			return err
		}
		steady := r.goroutines == last.goroutines && r.descriptors == last.descriptors && r.callers == 0 && r.flights == 0 &&
			(first.goroutines == 0 || r.goroutines <= first.goroutines+maxGoroutines)
		last = r
		if !steady {
			return fmt.Errorf("the agent does not come to rest: %d goroutines, %d descriptors, %d callers, %d flights",
				r.goroutines, r.descriptors, r.callers, r.flights)
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
	r.goroutines, r.flights = int(page["go_goroutines"]), int(page["airlock_vault_flights"])
	if r.live == 0 || r.goroutines == 0 {
		return r, errors.New("the page of metrics has no live heap, or no number of goroutines")
	}
	proc := "/proc/" + strconv.Itoa(s.agent.Process.Pid)
	open, err := os.ReadDir(proc + "/fd") // the agent cannot be dumped, so that this takes root
	if err != nil {
		return r, err
	}
	if r.callers, err = connected(proc+"/net/unix", s.socket); err != nil {
		return r, err
	}
	r.descriptors = len(open) - r.callers
	r.callers--
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return r, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	r.resident = kib * 1024 / mib
	return r, err
}

// connected counts the connections that were accepted on a socket, in the kernel's table of Unix sockets: Num, RefCount,
// Protocol, Flags, Type, St, Inode and Path, where state 03 is connected (proc_net(5)).
func connected(table, socket string) (int, error) {
	raw, err := os.ReadFile(table)
	n := 0
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) == 8 && fields[5] == "03" && fields[7] == socket {
			n++
		}
	}
	return n, err
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

// judge compares the cycles, of which the first ones warm up, and adds what went wrong.
func (s *soak) judge(reports []report) error {
	problems := []error{grown(reports)}
	for _, wrong := range s.wrong {
		problems = append(problems, errors.New(wrong))
	}
	if s.asked["found"] == 0 {
		problems = append(problems, errors.New("nothing was found: the run tells nothing"))
	}
	return errors.Join(problems...)
}

// grown says what there is more of in the later half of the cycles; nil: nothing that matters.
func grown(reports []report) error {
	most, warm := long, 2
	if len(reports) < fewCycles {
		most, warm = short, 1
	}
	reports = reports[warm:]
	half := len(reports) / 2
	var problems []error
	for _, figure := range []struct {
		name string
		most float64
		of   func(report) float64
	}{
		{"MiB resident", most.resident, func(r report) float64 { return r.resident }},
		{"MiB of live heap", most.live, func(r report) float64 { return r.live }},
		{"goroutines", most.goroutines, func(r report) float64 { return float64(r.goroutines) }},
		{"descriptors", most.descriptors, func(r report) float64 { return float64(r.descriptors) }},
	} {
		lowest := func(part []report) float64 {
			return figure.of(slices.MinFunc(part, func(a, b report) int { return cmp.Compare(figure.of(a), figure.of(b)) }))
		}
		if more := lowest(reports[half:]) - lowest(reports[:half]); more > figure.most {
			problems = append(problems, fmt.Errorf("the agent grew by %.2f %s from the one half of the cycles to the other", more, figure.name))
		}
	}
	return errors.Join(problems...)
}

// Command parity compares Airlock with Airflow itself, over cases that it makes up. `make test` runs a small fixed set,
// `make parity` many.
package main

import (
	"flag"
	"fmt"
	"log"
	"maps"
	"slices"
	"time"
)

type options struct {
	python      string // with Airflow, the official provider and airlock_airflow
	airlock     string
	dir         string // of the Python programs
	seed        uint64
	connections int
	lookups     int
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("parity: ")
	var opt options
	flag.StringVar(&opt.python, "python", "build/venv/bin/python",
		"a Python with Airflow, the official provider and airlock_airflow")
	flag.StringVar(&opt.airlock, "airlock", "bin/airlock", "the program")
	flag.StringVar(&opt.dir, "dir", "python/tests/parity", "where the Python programs are")
	flag.Uint64Var(&opt.seed, "seed", 1, "what the cases are made from; 0: the clock")
	flag.IntVar(&opt.connections, "connections", 4000, "connections and connection ids to compare")
	flag.IntVar(&opt.lookups, "lookups", 400, "lookups to compare")
	flag.Parse()
	if opt.seed == 0 {
		opt.seed = uint64(time.Now().UnixNano())
	}
	failed := false
	for _, part := range []struct {
		name string
		run  func(options, *tally) error
		n    int
	}{{"connections", connections, opt.connections}, {"lookups", lookups, opt.lookups}} {
		if part.n == 0 {
			continue
		}
		t := newTally()
		began := time.Now()
		if err := part.run(opt, t); err != nil {
			log.Fatalf("%s: %v", part.name, err)
		}
		fmt.Printf("parity: %d %s, seed %d, %.0f s: ", part.n, part.name, opt.seed, time.Since(began).Seconds())
		failed = t.print() || failed
	}
	if failed {
		log.Fatal("Airlock and Airflow differ")
	}
}

// tally counts comparisons, by what was compared, and keeps the first differences.
type tally struct {
	checks, rows map[string]int
	differ       int
	examples     []string
}

func newTally() *tally { return &tally{checks: map[string]int{}, rows: map[string]int{}} }

// check counts a comparison, and tells whether it went well.
func (t *tally) check(what string, same bool, example func() string) bool {
	t.checks[what]++
	if !same {
		if t.differ++; len(t.examples) < 20 {
			t.examples = append(t.examples, example())
		}
	}
	return same
}

// row counts a difference that is meant, and has a row in docs/parity.md.
func (t *tally) row(what string) { t.rows[what]++ }

// print tells the result, and whether there were differences that are not meant.
func (t *tally) print() bool {
	fmt.Printf("%d differences\n", t.differ)
	for _, what := range slices.Sorted(maps.Keys(t.checks)) {
		fmt.Printf("  %7d %s\n", t.checks[what], what)
	}
	for _, what := range slices.Sorted(maps.Keys(t.rows)) {
		fmt.Printf("  %7d refused on purpose: %s\n", t.rows[what], what)
	}
	for _, example := range t.examples {
		fmt.Println("  differs:", example)
	}
	return t.differ > 0
}

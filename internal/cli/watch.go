package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
)

const (
	watchEvery = time.Second
	lookTime   = 5 * time.Second // for all agents' answers: one that hangs must not freeze the view
)

// look asks for what a live view shows.
type look func(context.Context) ([]agentStatus, error)

// watchStatus shows the agents every second until ctx ends, which is how it is meant to end, so no error. Agents may come
// and go meanwhile.
func (a *app) watchStatus(ctx context.Context, ask look, asJSON bool) error {
	show := a.showPlain
	switch {
	case asJSON:
		show = a.showLine
	case a.env.StdoutTerminal:
		screen := openScreen(a.env.Stdout, a.env.StdoutSize)
		defer screen.close()
		show = func(all []agentStatus, err error) error { return screen.draw(a.page(all, err)) }
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, lookTime)
		all, err := ask(bounded)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err := show(all, err); err != nil {
			return fault.Wrap(fault.Internal, err, "cannot write the status")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// showLine writes one JSON document; no agent is an empty list.
func (a *app) showLine(all []agentStatus, _ error) error {
	if all == nil {
		all = []agentStatus{}
	}
	encoder := json.NewEncoder(a.env.Stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(all)
}

// showPlain writes one page after the other, for a pipe.
func (a *app) showPlain(all []agentStatus, err error) error {
	_, err = fmt.Fprintf(a.env.Stdout, "%s\n", a.page(all, err))
	return err
}

// page is the status as text, or why there is none.
func (a *app) page(all []agentStatus, err error) []byte {
	var page bytes.Buffer
	if err != nil {
		printError(&page, err)
		return page.Bytes()
	}
	onPage := *a
	onPage.env.Stdout = &page
	onPage.printStatuses(all)
	return page.Bytes()
}

// screen is a terminal that is drawn over and over. It uses the terminal's second screen, so that closing it brings back
// what was there (xterm's control sequences, https://invisible-island.net/xterm/ctlseqs/ctlseqs.html).
type screen struct {
	out  io.Writer
	size func() (columns, lines int, err error)
}

const (
	secondScreen, firstScreen = "\x1b[?1049h", "\x1b[?1049l"
	hideCursor, showCursor    = "\x1b[?25l", "\x1b[?25h"
	noWrap, wrap              = "\x1b[?7l", "\x1b[?7h"
	home, toLineEnd, toEnd    = "\x1b[H", "\x1b[K", "\x1b[J"
)

func openScreen(out io.Writer, size func() (int, int, error)) *screen {
	_, _ = io.WriteString(out, secondScreen+hideCursor+noWrap)
	return &screen{out: out, size: size}
}

// draw shows a text from the top, as many lines as there are. The terminal itself cuts lines that are too long; it knows
// how wide its letters are.
func (s *screen) draw(text []byte) error {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if s.size != nil {
		if _, height, err := s.size(); err == nil && height > 1 && len(lines) > height {
			left := len(lines) - (height - 1)
			lines = append(lines[:height-1], fmt.Sprintf("... and %d more lines; see airlock status", left))
		}
	}
	frame := home + strings.Join(lines, toLineEnd+"\n") + toLineEnd + toEnd
	_, err := io.WriteString(s.out, frame)
	return err
}

func (s *screen) close() { _, _ = io.WriteString(s.out, wrap+showCursor+firstScreen) }

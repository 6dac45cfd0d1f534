package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// peer is a Python process that answers each line of JSON with one.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startPeer runs python with the arguments; environ is its whole environment.
func startPeer(python string, environ []string, args ...string) (*peer, error) {
	p := &peer{cmd: exec.Command(python, args...)}
	p.cmd.Env = environ
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, 1<<20)
	return p, p.cmd.Start()
}

func (p *peer) read(answer any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("python said no more: %w", err)
	}
	return json.Unmarshal(line, answer)
}

func (p *peer) ask(request, answer any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return err
	}
	return p.read(answer)
}

// close ends the process, which goes when its input does.
func (p *peer) close() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

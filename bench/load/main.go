// Command load compares an agent with a bare net/http handler that writes the same bytes on the same kind of socket: the
// most that the agent could do. It prints the requests a second of each, round by round, as JSON.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	log.SetFlags(0)
	agent := flag.String("agent", "", "the agent's socket")
	path := flag.String("path", "/v1/variables/hello", "what is asked")
	connections := flag.Int("connections", 8, "kept connections, each with one request at a time")
	rounds := flag.Int("rounds", 40, "pairs of measurements; short ones, so that both see the same of what else the machine does")
	length := flag.Duration("for", 250*time.Millisecond, "length of a measurement")
	serve := flag.String("serve", "", "be the bare handler on this socket, with the body from standard input")
	flag.Parse()
	var err error
	if *serve != "" {
		err = serveBare(*serve)
	} else {
		err = compare(*agent, *path, *connections, *rounds, *length)
	}
	if err != nil {
		log.Fatal("load: ", err)
	}
}

// serveBare is the peer: the same server, the same headers, and nothing behind them.
func serveBare(socket string) error {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	length := strconv.Itoa(len(body))
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Date"] = nil
		h.Set("Content-Length", length)
		_, _ = w.Write(body)
	}))
}

func compare(agent, path string, connections, rounds int, length time.Duration) error {
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: airlock\r\n\r\n")
	body, err := ask(agent, request)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "airlock")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bare := filepath.Join(dir, "bare.sock")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	peer := exec.Command(self, "-serve", bare)
	peer.Stdin, peer.Stderr = bytes.NewReader(body), os.Stderr
	if err := peer.Start(); err != nil {
		return err
	}
	defer func() {
		_ = peer.Process.Kill()
		_ = peer.Wait()
	}()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if _, err := ask(bare, request); err == nil {
			break
		} else if time.Since(begun) > 10*time.Second {
			return fmt.Errorf("the bare handler does not start: %w", err)
		}
	}
	result := map[string][]float64{}
	for range rounds {
		for _, peer := range []struct{ name, socket string }{{"agent", agent}, {"bare", bare}} {
			rate, err := measure(peer.socket, request, connections, length)
			if err != nil {
				return fmt.Errorf("%s: %w", peer.name, err)
			}
			result[peer.name] = append(result[peer.name], rate)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// ask makes one exchange and returns the body.
func ask(socket string, request []byte) ([]byte, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}

// measure keeps connections busy and counts the answers. The client does as little as it can: it reads one answer with
// net/http to learn its length, and then as many bytes for each.
func measure(socket string, request []byte, connections int, length time.Duration) (float64, error) {
	var answers atomic.Int64
	var wait sync.WaitGroup
	failed := make(chan error, connections)
	end := time.Now().Add(length)
	for range connections {
		wait.Go(func() {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				failed <- err
				return
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for n := int64(0); ; n++ {
				if n%64 == 0 && time.Now().After(end) {
					answers.Add(n)
					return
				}
				if err := exchange(conn, reader, request); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wait.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(answers.Load()) / length.Seconds(), nil
	}
}

// exchange writes a request and reads an answer whose body is one JSON object of known length.
func exchange(conn net.Conn, reader *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	length := -1
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without a length")
	}
	_, err := reader.Discard(length)
	return err
}

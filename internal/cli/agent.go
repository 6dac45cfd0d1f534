package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/socket"
)

const (
	fetchTime   = time.Minute      // the longest that the vault may take for one secret, all tries of the SDK included
	slowAfter   = 2 * time.Second  // how long a lookup waits for a slow vault before it gets an old value
	backoff     = time.Second      // the longest that a secret is not asked for after a failure; it doubles
	maxBackoff  = 30 * time.Second // the bound of that
	maxEntries  = 10_000           // secrets that an agent holds
	startTime   = 20 * time.Second // the longest that a detached agent may take to answer
	maxDocument = 1 << 20          // bytes of a configuration
)

type agentFlags struct {
	configFile string
	socketPath string
	idleExit   time.Duration
	detach     bool
	readyFD    int
	verbose    bool
}

func (a *app) agentCommand() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent in the foreground",
		Long: `Run the agent: it logs in to the vault once, caches, and answers lookups on a Unix socket.

Its configuration is the backend's kwargs: from --config, a file with the JSON object ('-' is standard input), or from
the environment as Airflow has them. The Python backend starts an agent by itself where none runs.

Under systemd, a socket that its unit passes takes the place of --socket; see packaging/README.md.`,
		Example: `  airlock agent
  airlock agent --config kwargs.json --socket ~/.airlock/agent.sock`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.runAgent(f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.configFile, "config", "", "file with the kwargs, a JSON object; '-' reads standard input")
	flags.StringVar(&f.socketPath, "socket", "", "the socket's path; agent.sock in the runtime directory by default")
	flags.DurationVar(&f.idleExit, "idle-exit", 0, "stop after so long without a request, for example 15m; 0 is never")
	flags.BoolVar(&f.detach, "detach", false, "return when the agent answers, and leave it running")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log every request to the vault")
	flags.IntVar(&f.readyFD, "ready-fd", 0, "")
	_ = flags.MarkHidden("ready-fd")
	return c
}

func (a *app) runAgent(f agentFlags) error {
	document, c, err := a.agentConfig(f.configFile)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	if f.socketPath == "" {
		f.socketPath = filepath.Join(socket.Dir(a.getenv), "agent.sock")
	}
	if f.socketPath, err = filepath.Abs(f.socketPath); err != nil {
		return err
	}
	if f.detach {
		return a.detachAgent(f, document)
	}
	return a.serveAgent(f, c)
}

// agentConfig reads the kwargs and checks them. The document is what a detached agent gets handed on.
func (a *app) agentConfig(file string) ([]byte, config.Config, error) {
	// An agent asks its vault; which agent others ask is not its concern.
	getenv := over(map[string]string{config.EnvAgentSocket: ""}, a.getenv)
	if file == "" {
		project, err := a.projectEnv()
		if err != nil {
			return nil, config.Config{}, err
		}
		c, err := config.FromEnvironment(under(project, getenv))
		return nil, c, err
	}
	var reader io.Reader = a.env.Stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, config.Config{}, fault.Wrap(fault.Usage, err, "cannot read the configuration: "+err.Error())
		}
		defer opened.Close()
		reader = opened
	}
	document, err := io.ReadAll(io.LimitReader(reader, maxDocument))
	if err != nil {
		return nil, config.Config{}, fault.Wrap(fault.Usage, err, "cannot read the configuration")
	}
	c, err := config.FromKwargs(document, getenv)
	c.AgentSocket = ""
	return document, c, err
}

func (a *app) serveAgent(f agentFlags, c config.Config) error {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(a.env.Stderr, &slog.HandlerOptions{Level: level}))
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	if err := harden(); err != nil {
		log.Warn("the kernel keeps other processes of this user from reading the agent's memory only in part", "reason", err)
	}
	daemon, err := newAgent(c, agent.Config{IdleExit: f.idleExit, Log: log})
	if err != nil {
		return a.report(f.readyFD, err)
	}
	l, err := a.listenAgent(f.socketPath)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	log.Info("agent answers", "socket", l.Path(), "vault", c.VaultURL, "credential", credentialInWords(c), "version", Version)
	if f.readyFD == 0 && a.env.StderrTerminal {
		a.say("\nAsk it from another terminal:\n  AIRLOCK_AGENT_SOCKET=%s airlock get variable NAME\nStop it with Ctrl-C.\n", l.Path())
	}
	if err := a.report(f.readyFD, nil); err != nil {
		return err
	}
	defer a.tellManager(log, l.Path())()
	return daemon.Serve(a.env.Context, l)
}

// report tells the process that detached this one how the start went, if there is such a process.
func (a *app) report(fd int, start error) error {
	if fd == 0 {
		return start
	}
	pipe := os.NewFile(uintptr(fd), "ready")
	defer pipe.Close()
	var told agentapi.ErrorBody
	if start != nil {
		told = agentapi.BodyOf(start)
	}
	if errors.Is(start, socket.ErrInUse) {
		told.Kind = kindInUse
	}
	if err := json.NewEncoder(pipe).Encode(told); err != nil {
		return errors.Join(start, err)
	}
	return start
}

// kindInUse is how a detached agent says that another one was first.
const kindInUse = "in_use"

// detachAgent starts an agent in a session of its own and returns when it answers. Somebody else's agent at the same
// socket will do: whoever names the socket names the configuration.
func (a *app) detachAgent(f agentFlags, document []byte) error {
	deadline := time.Now().Add(startTime)
	for {
		told, err := a.startAgent(f, document)
		if err != nil {
			return err
		}
		if told.Kind != kindInUse {
			if told.Message != "" {
				return told.Fault()
			}
			return nil
		}
		// Another one was first: it answers, or it is about to end and lets go of the lock.
		if askAgent(f.socketPath).Health(a.env.Context) == nil {
			return nil
		}
		if a.env.Context.Err() != nil || time.Now().After(deadline) {
			return fault.New(fault.Unavailable, told.Message+", but it does not answer", "see its log: "+f.socketPath+".log")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (a *app) startAgent(f agentFlags, document []byte) (agentapi.ErrorBody, error) {
	failed := func(err error) (agentapi.ErrorBody, error) {
		return agentapi.ErrorBody{}, fault.Wrap(fault.Internal, err, "cannot start the agent: "+err.Error())
	}
	if err := socket.CheckPath(f.socketPath); err != nil {
		return agentapi.ErrorBody{}, err
	}
	if err := socket.MakeDir(filepath.Dir(f.socketPath)); err != nil {
		return agentapi.ErrorBody{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return failed(err)
	}
	log, err := os.OpenFile(f.socketPath+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return failed(err)
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil && info.Size() > 1<<20 {
		_ = log.Truncate(0) // a log of many starts; the last ones matter
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return failed(err)
	}
	defer ready.Close()
	input, hand, err := os.Pipe()
	if err != nil {
		theirs.Close()
		return failed(err)
	}
	args := []string{a.env.Args[0], "agent", "--socket", f.socketPath, "--idle-exit", f.idleExit.String(), "--ready-fd", "3"}
	if f.configFile != "" {
		args = append(args, "--config", "-")
	}
	if f.verbose {
		args = append(args, "--verbose")
	}
	child := &exec.Cmd{
		Path: self, Args: args, Dir: "/", Env: a.env.Environ,
		Stdin: input, Stderr: log, ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if f.configFile == "" {
		child.Dir = a.env.Dir // its .env may be what configures the agent
	}
	err = child.Start()
	theirs.Close()
	input.Close()
	if err != nil {
		hand.Close()
		return failed(err)
	}
	go func() {
		_, _ = hand.Write(document)
		hand.Close()
	}()
	_ = ready.SetReadDeadline(time.Now().Add(startTime))
	stop := context.AfterFunc(a.env.Context, func() { _ = ready.Close() })
	defer stop()
	var told agentapi.ErrorBody
	if err := json.NewDecoder(ready).Decode(&told); err != nil {
		_ = child.Process.Kill()
		_ = child.Wait()
		return agentapi.ErrorBody{}, fault.Wrap(fault.Unavailable, err, "the agent did not come up",
			fmt.Sprintf("see its log: %s", log.Name()))
	}
	if told.Message != "" {
		_ = child.Wait()
	} else {
		_ = child.Process.Release()
	}
	return told, nil
}

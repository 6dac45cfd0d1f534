package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/airlock-secrets/airlock/internal/agent"
	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/metrics"
	"github.com/airlock-secrets/airlock/internal/socket"
	"github.com/airlock-secrets/airlock/internal/tracing"
)

const (
	fetchTime  = time.Minute      // the longest that the vault may take for one secret, all tries of the SDK included
	slowAfter  = 2 * time.Second  // how long a lookup waits for a slow vault before it gets an old value
	backoff    = time.Second      // the longest that a secret is not asked for after a failure; it doubles
	maxBackoff = 30 * time.Second // the bound of that
	maxEntries = 10_000           // secrets that an agent holds
	maxBytes   = 64 << 20         // of them; a value has 25 KiB at most

	// prefetchSpread is the time within which a prefetch begins. It is three times that for which a vault counts requests
	// (10 s): a hundred agents that start together and read some sixty secrets each stay below its limit, whatever their
	// vault_share is.
	prefetchSpread = 30 * time.Second

	startTime = 20 * time.Second // the longest that a detached agent may take to answer
)

type agentFlags struct {
	configFile string
	socketPath string
	idleExit   time.Duration
	detach     bool
	readyFD    int
	verbose    bool
	check      bool

	idleExitSet bool   // --idle-exit is above the configuration
	group       int    // of the configuration, for the socket's folder
	document    []byte // what '-' gave, for the process that is detached
}

func (a *app) agentCommand() *cobra.Command {
	var f agentFlags
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent in the foreground",
		Long: `Run the agent: it logs in to the vault once, caches, and answers lookups on a Unix socket.

Its configuration is a YAML document (docs/configuration.md) or the backend's kwargs, a JSON object: from --config, a file
('-' is standard input), or the kwargs from the environment as Airflow has them. Flags stand above the environment, and
the environment above the file. The Python backend starts an agent by itself where none runs.

A changed file takes effect at once, and SIGHUP has it read again; one that is wrong changes nothing.

--check says what is wrong with a configuration, or else prints what is in force, secrets masked.

Under systemd, a socket that its unit passes takes the place of --socket; see packaging/README.md.`,
		Example: `  airlock agent
  airlock agent --config airlock.yaml --check
  airlock agent --config airlock.yaml --socket ~/.airlock/agent.sock`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.idleExitSet = c.Flags().Changed("idle-exit")
			return a.runAgent(f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.configFile, "config", "", "file with a YAML document, or with the kwargs as a JSON object; '-' reads standard input")
	flags.StringVar(&f.socketPath, "socket", "", "the socket's path; agent.sock in the runtime directory by default")
	flags.DurationVar(&f.idleExit, "idle-exit", 0, "stop after so long without a request, for example 15m; 0 is never")
	flags.BoolVar(&f.detach, "detach", false, "return when the agent answers, and leave it running")
	flags.BoolVar(&f.check, "check", false, "check the configuration, print what is in force, and start nothing")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log every request to the vault")
	flags.IntVar(&f.readyFD, "ready-fd", 0, "")
	_ = flags.MarkHidden("ready-fd")
	return c
}

func (a *app) runAgent(f agentFlags) error {
	if f.configFile != "" && f.configFile != "-" {
		f.configFile = a.path(f.configFile)
	}
	if f.detach && f.configFile == "-" {
		document, err := io.ReadAll(io.LimitReader(a.env.Stdin, config.MaxFile))
		if err != nil {
			return fault.Wrap(fault.Usage, err, "cannot read the configuration")
		}
		f.document = document
	}
	c, err := a.agentConfig(f)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	if f.check {
		return a.printConfig(c)
	}
	if f.detach {
		f.socketPath, f.group, f.idleExit = c.Listen.Socket, c.Listen.Group, c.Listen.IdleExit
		return a.detachAgent(f)
	}
	return a.serveAgent(f, c)
}

// agentConfig reads the configuration and puts the flags above it.
func (a *app) agentConfig(f agentFlags) (config.Agent, error) {
	source := config.Source{File: f.configFile, Stdin: a.env.Stdin, Getenv: config.AsAgent(a.getenv)}
	if f.document != nil {
		source.Stdin = bytes.NewReader(f.document)
	}
	if f.configFile == "" {
		project, err := a.projectEnv()
		if err != nil {
			return config.Agent{}, err
		}
		source.Getenv = under(project, source.Getenv)
		if err := a.lendLogin(false); err != nil {
			return config.Agent{}, err
		}
	}
	c, err := config.LoadAgent(source)
	if err != nil {
		return c, err
	}
	c.SetListen(func(l *config.Listen) {
		l.Socket = a.path(cmp.Or(f.socketPath, l.Socket, filepath.Join(socket.Dir(a.getenv), "agent.sock")))
		if f.idleExitSet {
			l.IdleExit = f.idleExit
		}
	})
	return c, nil
}

func (a *app) printConfig(c config.Agent) error {
	for _, w := range c.Warnings {
		a.say("airlock: warning: %s", w)
	}
	document, err := c.Document()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot print the configuration")
	}
	_, err = a.env.Stdout.Write(document)
	return err
}

func (a *app) serveAgent(f agentFlags, c config.Agent) error {
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
	counts := metrics.New(Version)
	tracer, err := a.openTracer(log)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	vaults, err := opened(nil).open(c, agent.Config{Log: log, Metrics: counts}, tracer)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	written, err := a.openAudit(c, nil)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	if err := c.MakeToken(); err != nil {
		return a.report(f.readyFD, err)
	}
	running := agent.DaemonConfig{
		Plan: vaults.plan(c, written), IdleExit: c.Listen.IdleExit, Log: log, Version: Version, Metrics: counts,
	}
	running.Memory.GiveBack = func() {
		debug.FreeOSMemory()
		if err := giveBack(); err != nil {
			log.Debug("more of the program stays in memory than need be", "reason", err)
		}
	}
	if a.getenv("GOGC") == "" {
		running.Memory.SetGCPercent = debug.SetGCPercent
	}
	if tracer != nil {
		running.Tracer = tracer
		defer tracer.Close()
	}
	daemon := agent.NewDaemon(running)
	l, others, err := a.listenAgent(c.Listen)
	if err != nil {
		return a.report(f.readyFD, err)
	}
	for _, v := range c.Vaults {
		log.Info("vault", "name", v.Name, "url", v.VaultURL, "credential", v.Config.Login())
	}
	log.Info("agent answers", "socket", l.Path(), "version", Version)
	for _, other := range others {
		log.Info("agent answers by TCP", "address", other.Addr().String(), "token_file", c.Remote.TokenFile)
	}
	if f.readyFD == 0 && a.env.StderrTerminal {
		a.say("\nAsk it from another terminal:\n  AIRLOCK_AGENT_SOCKET=%s airlock get variable NAME\nStop it with Ctrl-C.\n", l.Path())
	}
	if err := a.report(f.readyFD, nil); err != nil {
		return err
	}
	manager, end := a.tellManager(log, l.Path())
	defer end()
	now := live{daemon: daemon, manager: manager, log: log, metrics: counts, tracer: tracer, vaults: vaults, audit: written, now: c, seen: c}
	defer a.followConfig(f, &now)()
	return daemon.Serve(a.env.Context, l, others...)
}

// openTracer makes what tells a collector of lookups; nil where none is configured.
func (a *app) openTracer(log *slog.Logger) (*tracing.Tracer, error) {
	c, err := tracing.FromEnvironment(a.getenv)
	if err != nil || c.Endpoint == "" {
		return nil, err
	}
	log.Info("traces are sent", "to", c.Host())
	return tracing.New(c, Version, log)
}

// followConfig takes a changed configuration while the agent runs, and returns what ends that. SIGHUP asks for it; at a
// terminal it says that the terminal has gone, and ends the agent as it ends any command.
func (a *app) followConfig(f agentFlags, l *live) (end func()) {
	l.load = func() (config.Agent, error) {
		if f.configFile == "-" {
			return l.now, fault.New(fault.Usage, "the configuration came by standard input, which cannot be read again")
		}
		return a.agentConfig(f)
	}
	l.openAudit = a.openAudit
	asked := make(chan struct{}, 1)
	if a.env.OnHangup != nil && !a.env.StderrTerminal {
		a.env.OnHangup(func() {
			select {
			case asked <- struct{}{}:
			default: // one is waiting already
			}
		})
	}
	ctx, cancel := context.WithCancel(a.env.Context)
	var following sync.WaitGroup
	following.Go(func() { l.follow(ctx, asked) })
	return func() {
		cancel()
		following.Wait()
	}
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
func (a *app) detachAgent(f agentFlags) error {
	deadline := time.Now().Add(startTime)
	for {
		told, err := a.startAgent(f)
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

func (a *app) startAgent(f agentFlags) (agentapi.ErrorBody, error) {
	failed := func(err error) (agentapi.ErrorBody, error) {
		return agentapi.ErrorBody{}, fault.Wrap(fault.Internal, err, "cannot start the agent: "+err.Error())
	}
	if err := socket.CheckPath(f.socketPath); err != nil {
		return agentapi.ErrorBody{}, err
	}
	if err := socket.MakeDir(filepath.Dir(f.socketPath), f.group); err != nil {
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
		args = append(args, "--config", f.configFile)
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
		_, _ = hand.Write(f.document)
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

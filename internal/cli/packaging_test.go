package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var packaging = filepath.Join("..", "..", "packaging")

// TestUnits: what the units start is a command of ours with flags that it has, and the socket is as private as the agent
// wants it.
func TestUnits(t *testing.T) {
	services, err := filepath.Glob(filepath.Join(packaging, "systemd", "*", "*.service"))
	system, systemErr := filepath.Glob(filepath.Join(packaging, "systemd", "*.service"))
	services = append(services, system...)
	if err != nil || systemErr != nil || len(services) != 2 {
		t.Fatalf("units: %q, %v, %v", services, err, systemErr)
	}
	for _, path := range services {
		service, socket := unit(t, path), unit(t, strings.TrimSuffix(path, ".service")+".socket")
		words := strings.Fields(service["ExecStart"])
		if len(words) < 2 || words[0] != "/usr/bin/airlock" {
			t.Fatalf("%s starts %q", path, words)
		}
		command, args, err := (&app{getenv: func(string) string { return "" }}).rootCommand().Find(words[1:])
		if err != nil || command.Name() != "agent" || command.ParseFlags(args) != nil {
			t.Errorf("%s: %q is no command: %v", path, words, err)
		}
		if service["Type"] != "notify-reload" || service["LimitCORE"] != "0" || socket["SocketMode"] != "0600" ||
			socket["SocketUser"] != service["User"] || !strings.HasSuffix(socket["ListenStream"], "/airlock/agent.sock") {
			t.Errorf("%s: %v %v", path, service, socket)
		}
	}
}

// unit reads the settings of a unit; of one that stands there twice, the last.
func unit(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	return settings
}

// TestSidecar: the two containers share the volume, the user, and the socket's place.
func TestSidecar(t *testing.T) {
	type container struct {
		RestartPolicy string `yaml:"restartPolicy"`
		Command       []string
		Env           []struct{ Name, Value string }
		VolumeMounts  []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					SecurityContext struct {
						RunAsUser int `yaml:"runAsUser"`
					} `yaml:"securityContext"`
					Init       []container `yaml:"initContainers"`
					Containers []container
					Volumes    []struct {
						Name     string
						EmptyDir map[string]string `yaml:"emptyDir"`
					}
				}
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(packaging, "kubernetes", "sidecar.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&deployment); err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	if len(pod.Init) != 1 || len(pod.Containers) != 1 || len(pod.Volumes) != 1 || pod.SecurityContext.RunAsUser == 0 {
		t.Fatalf("%+v", pod)
	}
	env := func(c container) map[string]string {
		values := map[string]string{}
		for _, e := range c.Env {
			values[e.Name] = e.Value
		}
		return values
	}
	agent, worker := pod.Init[0], pod.Containers[0]
	agentEnv, workerEnv := env(agent), env(worker)
	if agent.RestartPolicy != "Always" || !slices.Equal(agent.Command, []string{"airlock", "agent"}) {
		t.Errorf("%+v is no sidecar", agent)
	}
	if len(agent.VolumeMounts) != 1 || !slices.Equal(agent.VolumeMounts, worker.VolumeMounts) ||
		agent.VolumeMounts[0].Name != pod.Volumes[0].Name || pod.Volumes[0].EmptyDir["medium"] != "Memory" {
		t.Errorf("the volume: %v, %v, %v", agent.VolumeMounts, worker.VolumeMounts, pod.Volumes)
	}
	dir := agentEnv["AIRLOCK_RUNTIME_DIR"]
	if !strings.HasPrefix(dir, agent.VolumeMounts[0].MountPath+"/") || workerEnv["AIRLOCK_AGENT_SOCKET"] != dir+"/agent.sock" {
		t.Errorf("the socket: %v, %v", agentEnv, workerEnv)
	}
}

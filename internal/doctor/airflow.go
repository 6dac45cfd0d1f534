package doctor

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/project"
)

//go:embed look.py
var lookScript string

// looked is what look.py says.
type looked struct {
	Python     string            `json:"python"`
	Executable string            `json:"executable"`
	Versions   map[string]string `json:"versions"` // of the packages in question, by their names
	Kwargs     []string          `json:"kwargs"`   // that the class takes by name
	Source     []string          `json:"source"`   // of the words in question, those that its source has
	Missing    string            `json:"missing"`  // the module that is not there, or the class
	Failed     string            `json:"failed"`   // the type of another error
}

// answerMark begins the line of the answer: what is imported may print, too.
const answerMark = "\nAIRLOCK-DOCTOR:"

// checkImport imports the class in the project's Airflow.
func (v *visit) checkImport(ctx context.Context) Result {
	python, err := v.findPython()
	if err != nil {
		return Result{State: Broken, Found: err.Error()}
	}
	if python == "" {
		return v.noAirflow("there is no Python here")
	}
	l, err := v.importClass(ctx, python)
	if err != nil {
		return Result{State: Broken, Found: fmt.Sprintf("%s did not say: %s", python, err),
			Remedies: []string{"name another interpreter with --python PATH"}}
	}
	version := cmp.Or(l.Versions["apache-airflow"], l.Versions["apache-airflow-core"])
	if version == "" && (v.Python == "" || l.Missing == "" || strings.HasPrefix(l.Missing, "airflow")) {
		return v.noAirflow(fmt.Sprintf("the Python at %s has no Airflow", python))
	}
	r := Result{State: OK, Found: fmt.Sprintf("imports in Airflow %s, Python %s", version, l.Python), Notes: []string{"asked " + python}}
	for _, name := range []string{project.AirlockPackage, project.AzurePackage} {
		if has := l.Versions[name]; has != "" {
			r.Notes = append(r.Notes, name+" "+has)
		}
	}
	switch {
	case l.Missing != "":
		return v.missing(l, version, python)
	case l.Failed != "":
		return Result{State: Broken, Notes: r.Notes,
			Found:    fmt.Sprintf("importing %s raises %s in Airflow %s", v.class, l.Failed, version),
			Remedies: []string{fmt.Sprintf("see it with: %s -c 'import %s'", python, moduleOf(v.class))}}
	}
	v.traps(&r, l)
	return r
}

// missing is the result of a class that is not there.
func (v *visit) missing(l looked, version, python string) Result {
	r := Result{State: Broken, Notes: []string{"asked " + python},
		Found: fmt.Sprintf("%s does not import in Airflow %s: there is no %s", v.class, version, l.Missing)}
	if name := packageOf[v.class]; name != "" {
		r.Remedies = []string{
			fmt.Sprintf("add %s to requirements.txt, then: astro dev restart", name),
			fmt.Sprintf("%s -m pip install %s", python, name),
		}
	}
	return r
}

// traps are what some releases of the official backend do to ids and kwargs
// (https://github.com/apache/airflow/pull/65692 and https://github.com/apache/airflow/pull/71078). They are recognised by
// the source that is installed, because a distribution may carry them over to other versions.
func (v *visit) traps(r *Result, l looked) {
	if v.class != airflow.AzureBackend {
		return
	}
	if slices.Contains(l.Source, "TEAM_SEP") && !slices.Contains(l.Source, "multi_team") {
		r.warn("this release of the provider takes ids with two adjoining _ or - for a team's, and does not find them",
			fmt.Sprintf("upgrade it: %s -m pip install --upgrade %s", l.Executable, project.AzurePackage))
		if v.env(config.EnvKwargs) != "" && v.conf.VaultURL != "" && v.conf.Sep == "" {
			r.broke(`this release of the provider finds nothing at all with "sep": ""`, "take sep out of the kwargs")
		}
	}
	for _, key := range []struct{ name, value string }{
		{"managed_identity_client_id", v.conf.ManagedIdentityClientID},
		{"workload_identity_tenant_id", v.conf.WorkloadIdentityTenantID},
	} {
		if key.value != "" && !slices.Contains(l.Kwargs, key.name) {
			r.warn("this release of the provider does not know "+key.name+", and ignores it",
				fmt.Sprintf("upgrade it: %s -m pip install --upgrade %s", l.Executable, project.AzurePackage))
		}
	}
}

// noAirflow is the result where Airflow lives elsewhere, in a container as a rule.
func (v *visit) noAirflow(why string) Result {
	return Result{State: Skipped, Found: why + ": it may live in a container", Remedies: []string{
		fmt.Sprintf(`in the containers of astro dev start: docker exec "$(docker ps --quiet --filter name=scheduler | head -n 1)"`+
			` python -c 'import %s'`, moduleOf(v.class)),
		"or name the interpreter that has it: airlock doctor --python PATH",
	}}
}

func moduleOf(class string) string {
	if dot := strings.LastIndexByte(class, '.'); dot > 0 {
		return class[:dot]
	}
	return class
}

// findPython gives the project's interpreter, "" if there is none.
func (v *visit) findPython() (string, error) {
	own := processEnv(v.Process)
	if v.Python != "" {
		if info, err := os.Stat(v.Python); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return "", errors.New("--python names no program: " + v.Python)
		}
		return v.Python, nil
	}
	if venv := own("VIRTUAL_ENV"); venv != "" {
		if python := filepath.Join(venv, "bin", "python"); isProgram(python) {
			return python, nil
		}
	}
	for _, dir := range filepath.SplitList(own("PATH")) {
		for _, name := range []string{"python3", "python"} {
			if python := filepath.Join(dir, name); filepath.IsAbs(dir) && isProgram(python) {
				return python, nil
			}
		}
	}
	return "", nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// importClass asks the interpreter. It does not get what configures a backend: importing Airflow makes one, which would
// log in, and nothing here needs a secret.
func (v *visit) importClass(ctx context.Context, python string) (looked, error) {
	home, err := os.MkdirTemp("", "airlock-doctor-*") // where Airflow writes its defaults
	if err != nil {
		return looked{}, err
	}
	defer os.RemoveAll(home)
	command := exec.CommandContext(ctx, python, "-c", lookScript)
	command.Dir = v.Dir
	command.WaitDelay = time.Second
	for _, pair := range v.Process {
		if key, _, _ := strings.Cut(pair, "="); !configures(key) {
			command.Env = append(command.Env, pair)
		}
	}
	command.Env = append(command.Env, "AIRLOCK_DOCTOR_CLASS="+v.class, "AIRFLOW_HOME="+home)
	var out bytes.Buffer
	command.Stdout = &out
	ran := command.Run()
	_, answer, found := bytes.Cut(out.Bytes(), []byte(answerMark))
	var l looked
	switch {
	case ctx.Err() != nil:
		return looked{}, errors.New("it took too long")
	case !found && ran != nil:
		return looked{}, fmt.Errorf("it ended with: %w", ran)
	case !found || json.Unmarshal(answer, &l) != nil:
		return looked{}, errors.New("its answer is not understood")
	}
	return l, nil
}

// configures tells whether a variable is one that Airflow or a login goes by.
func configures(key string) bool {
	for _, prefix := range []string{"AIRFLOW_", "AZURE_", "AIRLOCK_", "IDENTITY_", "MSI_"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

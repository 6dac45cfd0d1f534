package doctor

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/dotenv"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/project"
)

// packageOf brings a class.
var packageOf = map[string]string{airflow.AirlockBackend: project.AirlockPackage, airflow.AzureBackend: project.AzurePackage}

// read reads a file of the project.
func (v *visit) read(name string) (*project.File, error) {
	tree, err := project.Open(v.Dir)
	if err != nil {
		return nil, err
	}
	return tree.Read(name)
}

// checkEnv reads the environment that Airflow would have, and the .env that it may come from.
func (v *visit) checkEnv(context.Context) Result {
	file, err := v.read(project.EnvFile)
	if err != nil {
		return brokenBy(err)
	}
	env, err := v.Getenv()
	if err != nil {
		r := brokenBy(err)
		correct(&r, file.Old)
		return r
	}
	v.env = env
	r := Result{State: OK, Found: v.origin()}
	if file.Exists() {
		judgeLines(&r, file.Old)
	}
	return r
}

// origin says where the backend's settings come from.
func (v *visit) origin() string {
	own := processEnv(v.Process)
	var file, shell []string
	for _, key := range []string{airflow.EnvBackend, airflow.EnvKwargs} {
		switch {
		case v.env(key) == "":
		case own(key) == "":
			file = append(file, key)
		default:
			shell = append(shell, key)
		}
	}
	switch {
	case v.Dev:
		return "the environment of the running dev is looked at"
	case len(file) == 0 && len(shell) == 0:
		return "neither .env nor the environment says anything of a secrets backend"
	case len(shell) == 0:
		return "the backend's settings come from .env"
	case len(file) == 0:
		return "the backend's settings come from the environment of this shell, and not from .env"
	}
	return fmt.Sprintf("%s comes from .env, and %s from the environment of this shell", file[0], shell[0])
}

func processEnv(environ []string) config.Getenv {
	return func(key string) string {
		for _, pair := range slices.Backward(environ) {
			if value, ok := strings.CutPrefix(pair, key+"="); ok {
				return value
			}
		}
		return ""
	}
}

// concerns tells whether a variable of .env configures the backend or its login.
func concerns(key string) bool {
	return key == airflow.EnvBackend || key == airflow.EnvKwargs || strings.HasPrefix(key, airflow.EnvKwargPrefix) ||
		strings.HasPrefix(key, "AZURE_")
}

// judgeLines looks whether every reader of .env takes the same out of it: the Astro CLI, Docker Compose, docker --env-file
// and the dotenv packages.
func judgeLines(r *Result, data []byte) {
	places, err := dotenv.Places(project.EnvFile, data)
	if err != nil {
		return // Getenv said so
	}
	first := map[string]int{}
	for _, p := range places {
		if !concerns(p.Key) {
			continue
		}
		if line := first[p.Key]; line > 0 {
			r.warn(fmt.Sprintf(".env:%d: %s stands in line %d already; the last one counts for some readers, and others refuse it",
				p.Line, p.Key, line), "keep one of the two lines")
		}
		first[p.Key] = p.Line
		if _, err := project.ParseKwargs([]byte(p.Value)); err != nil && p.Key == airflow.EnvKwargs {
			continue // the check of the kwargs says so
		}
		line, err := dotenv.Line(p.Key, p.Value)
		switch {
		case p.Value == "":
		case err != nil:
			r.warn(fmt.Sprintf(".env:%d: %s", p.Line, err), fault.HintsOf(err)...)
		case line != string(data[p.Start:p.End]):
			r.warn(fmt.Sprintf(".env:%d: the Astro CLI, Docker Compose, docker --env-file and dotenv do not all read %s the same way",
				p.Line, p.Key),
				"write KEY=VALUE without quotes, export or a comment behind it; airlock init does")
		}
	}
}

// correct offers the line that was meant, when the kwargs can be read in one way only.
func correct(r *Result, env []byte) {
	b, err := project.ReadBackend(project.EnvFile, env)
	if err != nil || b.Repaired == "" {
		return
	}
	file, err := b.With(cmp.Or(b.Class, airflow.AirlockBackend), b.Kwargs)
	if err != nil {
		return
	}
	_, shown := project.MaskEnv(nil, file) // what is secret in it is not shown
	for line := range bytes.Lines(shown) {
		if bytes.HasPrefix(line, []byte(airflow.EnvKwargs+"=")) {
			r.Notes = append(r.Notes, b.Repaired)
			meant := "airlock init puts it right; what was meant, it seems, is: " + strings.TrimSpace(string(line))
			r.Remedies = append([]string{meant}, r.Remedies...)
		}
	}
}

func (v *visit) checkRequirements(context.Context) Result {
	outside := project.Find(v.Dir)
	file, err := v.read(project.RequirementsFile)
	name := packageOf[v.class]
	switch {
	case err != nil:
		return brokenBy(err)
	case outside != nil && !file.Exists():
		return Result{State: Skipped, Found: outside.Error()}
	case name == "":
		return Result{State: Skipped, Found: "no class is named whose package is known"}
	case !file.Exists():
		return Result{State: Broken, Found: "there is no requirements.txt", Remedies: []string{"echo " + name + " > requirements.txt"}}
	case !bytes.Equal(project.AddRequirement(file.Old, name), file.Old):
		return Result{State: Broken, Found: fmt.Sprintf("it does not ask for %s, which brings %s", name, v.class),
			Remedies: []string{"echo " + name + " >> requirements.txt, then: astro dev restart"}}
	}
	return Result{State: OK, Found: "it asks for " + name}
}

// checkIgnored looks whether .env can leave this machine.
func (v *visit) checkIgnored(ctx context.Context) Result {
	const name = project.EnvFile
	file, err := v.read(name)
	switch {
	case err != nil:
		return brokenBy(err)
	case !file.Exists():
		return Result{State: Skipped, Found: "there is no .env here"}
	}
	if len(project.Tracked(ctx, v.Dir, name)) > 0 {
		return Result{State: Broken, Found: "git has .env: whoever has the repository has its credentials", Remedies: []string{
			"git rm --cached .env && echo .env >> .gitignore",
			"make new credentials: the history keeps the old ones",
		}}
	}
	r := Result{State: OK}
	ignore, err := v.read(project.GitignoreFile)
	if err != nil {
		return brokenBy(err)
	}
	open, err := project.Committable(ctx, v.Dir, ignore.Old, name)
	switch {
	case err != nil:
		r.warn("git cannot be asked whether it ignores .env: " + err.Error())
	case len(open) > 0:
		r.warn(".gitignore does not name .env: the next git add takes it in", "echo .env >> .gitignore")
	}
	if project.Find(v.Dir) == nil { // an image is made here
		if ignore, err = v.read(project.DockerignoreFile); err != nil {
			return brokenBy(err)
		}
		open, err = project.Unignored(ignore.Old, name)
		switch {
		case err != nil:
			r.warn(err.Error())
		case len(open) > 0:
			r.warn(".dockerignore does not name .env: it becomes a part of the image", "echo .env >> .dockerignore")
		}
	}
	if r.State == OK {
		r.Found = "git and docker leave .env alone"
	}
	return r
}

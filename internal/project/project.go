// Package project edits the files of an Astro project in place: .env, requirements.txt, the ignore files, values.yaml of
// a Remote Execution Agent, and what takes credentials out of them. Each edit is a function from bytes to bytes that
// leaves every byte alone that it is not about; Tree reads the files and writes them, all or none.
package project

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Files of a project, by their names in its folder.
const (
	EnvFile          = ".env"
	EnvExampleFile   = ".env.example"
	RequirementsFile = "requirements.txt"
	// ClientRequirementsFile is of the image of the Remote Execution Agent; few projects have it.
	ClientRequirementsFile = "requirements-client.txt"
	GitignoreFile          = ".gitignore"
	DockerignoreFile       = ".dockerignore"
	SettingsFile           = "airflow_settings.yaml"

	configFile = ".astro/config.yaml"
)

// Find tells whether dir is an Astro project: whether the Astro CLI would take it for one, by its .astro/config.yaml, and
// whether it can be built, by its Dockerfile. Anything else is an error of kind Usage that says what is missing.
func Find(dir string) error {
	if !isFile(dir, configFile) {
		hints := []string{"astro dev init makes a project in an empty folder"}
		for up := filepath.Dir(dir); up != filepath.Dir(up); up = filepath.Dir(up) {
			if isFile(up, configFile) {
				hints = []string{"a folder above this one is a project: cd " + up}
				break
			}
		}
		return fault.New(fault.Usage, fmt.Sprintf("no Astro project here: this folder has no %s", configFile), hints...)
	}
	// A project for Remote Execution has a Dockerfile.client besides or instead.
	if !isFile(dir, "Dockerfile") && !isFile(dir, "Dockerfile.client") {
		return fault.New(fault.Usage, "no Astro project here: this folder has no Dockerfile",
			"astro dev init makes a project in an empty folder")
	}
	return nil
}

func isFile(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular()
}

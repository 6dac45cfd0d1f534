package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/schollz/progressbar/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/config"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/migrate"
	"github.com/airlock-secrets/airlock/internal/source"
	"github.com/airlock-secrets/airlock/localcloud"
)

// seedBatch is how many secrets are written between two steps of the progress bar.
const seedBatch = 500

// seed puts the files' connections and variables into the local vault and says how many. All files are read and checked
// before anything is written.
func (a *app) seed(cloud *localcloud.Cloud, c config.Config, files []string) (int, error) {
	secrets, err := a.readSeeds(c.Naming, files)
	if err != nil || len(secrets) == 0 {
		return 0, err
	}
	var bar *progressbar.ProgressBar
	if a.env.StderrTerminal && len(secrets) > seedBatch {
		bar = progressbar.NewOptions(len(secrets), progressbar.OptionSetWriter(a.env.Stderr),
			progressbar.OptionSetDescription("seeding"), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	}
	for batch := range slices.Chunk(secrets, seedBatch) {
		if err := a.env.Context.Err(); err != nil {
			return 0, fault.Wrap(fault.Canceled, err, "interrupted while seeding")
		}
		values := make(map[string]string, len(batch))
		for _, s := range batch {
			values[s.name] = string(s.item.Value.Reveal())
		}
		if err := cloud.SetSecrets(c.VaultURL, values); err != nil {
			return 0, fault.Wrap(fault.Usage, err, "cannot seed the vault: "+err.Error())
		}
		if bar != nil {
			_ = bar.Add(len(batch))
		}
	}
	return len(secrets), nil
}

// named is an item with the name that its secret gets.
type named struct {
	name string
	item source.Item
}

// readSeeds reads every file and gives each item its secret; every problem of every file is reported at once. What a vault
// can hold is taken, whether Airflow could use it or not: that may be what somebody wants to try.
func (a *app) readSeeds(naming airflow.Naming, files []string) ([]named, error) {
	var secrets []named
	var problems []error
	var items []source.Item
	for _, file := range files {
		data, err := source.Read(a.path(file))
		if err != nil {
			problems = append(problems, fault.Wrap(fault.Usage, err, fmt.Sprintf("cannot read the seed %s", file)))
			continue
		}
		some, err := source.Parse(file, data)
		problems = append(problems, err)
		for _, item := range some { // a later file is above an earlier one
			items = slices.DeleteFunc(items, func(old source.Item) bool { return old.Kind == item.Kind && old.ID == item.ID })
			items = append(items, item)
		}
	}
	met := migrate.CheckCollisions(naming, items)
	for i, item := range items {
		name, err := naming.Name(item.Kind, item.ID)
		switch {
		case err != nil:
			problems = append(problems, fault.Wrap(fault.Usage, err, fmt.Sprintf("%s: %v", item.Where, err)))
		case item.Value.Len() > airflow.MaxValueBytes:
			problems = append(problems, fault.New(fault.Usage, fmt.Sprintf("%s: the value of %s %q has more than %d bytes, the most that Key Vault keeps",
				item.Where, item.Kind, item.ID, airflow.MaxValueBytes)))
		case met[i] != "":
			problems = append(problems, fault.New(fault.Usage, fmt.Sprintf("%s: %s %q: %s", item.Where, item.Kind, item.ID, met[i]), migrate.CollisionHint))
		default:
			secrets = append(secrets, named{name, item})
		}
	}
	return secrets, errors.Join(problems...)
}

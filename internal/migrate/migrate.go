// Package migrate moves connections and variables into a Key Vault: it looks at what the vault holds, makes a plan that
// people can read, and carries it out. It is also where the findings of `airlock lint` are made.
//
// A plan is pure: the same source and the same vault give the same plan. Nothing else is kept anywhere, so that a run that was
// stopped half way is taken up again by planning anew.
package migrate

import (
	"context"
	"iter"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/keyvault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

// The tags of a secret that Airlock wrote: the id and the kind as Airflow knows them, of which the name tells less, for "_"
// and "-" are one in it.
const (
	TagID   = "airlock-id"
	TagKind = "airlock-kind"
)

// Tags are those of a secret that holds this id.
func Tags(kind airflow.Kind, id string) map[string]string {
	return map[string]string{TagID: id, TagKind: string(kind)}
}

// lister tells what a vault holds.
type lister interface {
	List(context.Context) iter.Seq2[keyvault.Properties, error]
	Deleted(context.Context) iter.Seq2[keyvault.Properties, error]
}

// getter reads one secret.
type getter interface {
	Get(ctx context.Context, name string) (keyvault.Secret, error)
}

// Held is one secret of a vault that Airflow may ask for.
type Held struct {
	Kind   airflow.Kind
	ID     string
	Tagged bool // the id is that of the tag; otherwise it is what the name allows, written with "_"
	// Contradicted tells that there is a tag with an id, and that the id's secret would have another name.
	Contradicted bool
	keyvault.Properties

	Value secret.Value // after Read
	Err   error        // why Read could not read it; nil: it did, or was not asked
}

// Inventory is what a vault holds, without values.
type Inventory struct {
	Held   []Held
	Others []keyvault.Properties // under no prefix of Airflow
	// Deleted are the names, in small letters, that are deleted and can be recovered.
	Deleted map[string]bool
	// DeletedUnknown is why Deleted is not known; nil: it is.
	DeletedUnknown error
}

// Take lists a vault. That the deleted secrets cannot be listed is no error: see Inventory.DeletedUnknown.
func Take(ctx context.Context, v lister, naming airflow.Naming) (Inventory, error) {
	inventory, err := TakeActive(ctx, v, naming)
	if err != nil {
		return Inventory{}, err
	}
	inventory.Deleted = map[string]bool{}
	for p, err := range v.Deleted(ctx) {
		if fault.Is(err, fault.Forbidden) {
			inventory.DeletedUnknown = err
			break
		}
		if err != nil {
			return Inventory{}, err
		}
		inventory.Deleted[strings.ToLower(p.Name)] = true
	}
	return inventory, nil
}

// TakeActive is Take for those who do not write, and need not know what is deleted.
func TakeActive(ctx context.Context, v lister, naming airflow.Naming) (Inventory, error) {
	var inventory Inventory
	for p, err := range v.List(ctx) {
		if err != nil {
			return Inventory{}, err
		}
		if held, ok := Identify(naming, p); ok {
			inventory.Held = append(inventory.Held, held)
		} else {
			inventory.Others = append(inventory.Others, p)
		}
	}
	return inventory, nil
}

// Identify tells what a secret is to Airflow; not ok when its name is under no prefix.
func Identify(naming airflow.Naming, p keyvault.Properties) (Held, bool) {
	held := Held{Properties: p}
	var ok bool
	held.Kind, held.ID, ok = naming.ID(p.Name)
	if !ok {
		return held, false
	}
	id := p.Tags[TagID]
	if id == "" {
		return held, true
	}
	kind, err := airflow.ParseKind(p.Tags[TagKind])
	if err != nil {
		kind = held.Kind
	}
	if name, err := naming.Name(kind, id); err != nil || !strings.EqualFold(name, p.Name) {
		held.Contradicted = true
		return held, true
	}
	held.Kind, held.ID, held.Tagged = kind, id, true
	return held, true
}

// readers is how many secrets are read at a time.
const readers = 16

// Read reads the values of those that are wanted; nil wants all. What is disabled or was deleted meanwhile gets its own
// error; any other failure ends it.
func Read(ctx context.Context, v getter, held []Held, wanted func(Held) bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i := range held {
		h := &held[i]
		if wanted != nil && !wanted(*h) {
			continue
		}
		if !h.Enabled {
			h.Err = fault.New(fault.Forbidden, "it is disabled in the vault")
			continue
		}
		group.Go(func() error {
			got, err := v.Get(ctx, h.Name)
			switch {
			case fault.Is(err, fault.NotFound):
				h.Err = err
			case err != nil:
				return err
			default:
				h.Value = got.Value
			}
			return nil
		})
	}
	return group.Wait()
}

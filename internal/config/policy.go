package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/airlock-secrets/airlock/internal/airflow"
)

// Rule lets some callers look up a part of all there is. A caller must meet every list that is not empty; one of the two
// is not.
type Rule struct {
	UIDs, GIDs []uint32
	Scope      airflow.Scope
}

type ruleEntry struct {
	UIDs   []userID  `yaml:"uids" doc:"Users, by number; self is the agent's own, root is 0. Not even they are exempt where there are rules."`
	GIDs   []groupID `yaml:"gids" doc:"Groups: the caller's first one counts. A rule has uids or gids; with both, both must fit."`
	Scoped `yaml:",inline"`

	At int `yaml:"-"`
}

type auditEntry struct {
	File plainText `yaml:"file" doc:"It is made if it is missing, and opened anew on SIGHUP, so that it can be rotated; - is standard output\n(AIRLOCK_AUDIT_FILE)."`
}

// userID is a user's number, or self, or root; groupID is a group's number.
type (
	userID  uint32
	groupID uint32
)

func (u *userID) take(n *yaml.Node) error {
	switch n.Value {
	case "self":
		*u = userID(os.Geteuid())
		return nil
	case "root":
		*u = 0
		return nil
	}
	id, err := number(n)
	*u = userID(id)
	if err != nil {
		return errors.New("must be a user's number, self or root")
	}
	return nil
}

func (g *groupID) take(n *yaml.Node) error {
	id, err := number(n)
	*g = groupID(id)
	if err != nil {
		return errors.New("must be a group's number")
	}
	return nil
}

// number reads an id; the largest is the system's word for none.
func number(n *yaml.Node) (uint32, error) {
	var id uint32
	if n.Tag != "!!int" || n.Decode(&id) != nil || id == math.MaxUint32 {
		return 0, errors.New("is no id")
	}
	return id, nil
}

// guard makes the rules, and says which of them are for nobody or nothing.
func (a *Agent) guard(d *decoder, dir string) {
	for i, e := range a.doc.Policy {
		path := fmt.Sprintf("policy[%d]", i)
		if len(e.UIDs)+len(e.GIDs) == 0 {
			d.problem(e.At, path, errors.New("is for everybody; name users (uids) or groups (gids)"))
		}
		if err := e.problem(); err != nil {
			d.problem(e.At, path, err)
		}
		r := Rule{Scope: e.scope()}
		for _, id := range e.UIDs {
			r.UIDs = append(r.UIDs, uint32(id))
		}
		for _, id := range e.GIDs {
			r.GIDs = append(r.GIDs, uint32(id))
		}
		a.Policy = append(a.Policy, r)
	}
	a.AuditFile = string(a.doc.Audit.File)
	if a.AuditFile != "" && a.AuditFile != "-" && !filepath.IsAbs(a.AuditFile) {
		a.AuditFile = filepath.Join(dir, a.AuditFile)
	}
}

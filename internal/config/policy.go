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
	TCP        bool // it is for callers by TCP, and then for no users or groups
	Operate    bool // it lets them see what the agent does and make it forget, and look up nothing
	Scope      airflow.Scope
}

type ruleEntry struct {
	UIDs   []userID  `yaml:"uids" doc:"Users, by number; self is the agent's own, root is 0. Not even they are exempt where there are rules."`
	GIDs   []groupID `yaml:"gids" doc:"Groups: any that the caller is in; outside Linux its first one. A rule has uids or gids; with both, both must fit."`
	TCP    mark      `yaml:"tcp" doc:"true: for callers by TCP, who show the token and have neither user nor group."`
	Scoped `yaml:",inline"`

	Operate mark `yaml:"operate" doc:"true: instead of lookups it allows status, metrics and refresh, which only the own user and root may ask for\notherwise."`

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
		switch named := len(e.UIDs)+len(e.GIDs) > 0; {
		case bool(e.TCP) && named:
			d.problem(e.At, path, errors.New("is for callers by TCP, who have neither user nor group; make two rules of it"))
		case bool(e.TCP) && a.Listen.TCP == "":
			d.problem(e.At, path, errors.New("is for callers by TCP, and listen.tcp is not set"))
		case !bool(e.TCP) && !named:
			d.problem(e.At, path, errors.New("is for everybody; name users (uids), groups (gids) or tcp"))
		}
		if s := e.Scoped; bool(e.Operate) && len(s.Kinds)+len(s.IDs)+len(s.Teams) > 0 {
			d.problem(e.At, path, errors.New("allows status, metrics and refresh (operate), which are not about single ids; make two rules of it"))
		}
		if err := e.problem(); err != nil {
			d.problem(e.At, path, err)
		}
		r := Rule{TCP: bool(e.TCP), Operate: bool(e.Operate), Scope: e.scope()}
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

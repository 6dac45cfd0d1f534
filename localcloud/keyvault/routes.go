package keyvault

import (
	"regexp"
	"slices"
	"strings"
)

// operation is one row of the data plane.
type operation struct {
	method     string
	path       string // segments; {name} and {version} stand for any, {version?} for one that may be missing
	about      string
	permission string // that an access policy must give
	action     string // that a role must allow, without actionPrefix
	maxBody    int64  // bytes
	run        func(*Service, *call) (any, error)
}

const (
	noBody = 1 << 10
	// A value of 25 KB may be six times as long in JSON, and there are 15 tags of 1 KB.
	secretBody = 256 << 10
	// 500 versions of 25 KB, encrypted and in base64 twice.
	backupBody = 32 << 20
)

// operations is the table of the data plane. It is filled by init, because the operations refer to it.
var operations []operation

func init() {
	operations = []operation{
		{"PUT", "secrets/{name}", "set a secret", permSet, actionSet, secretBody, (*Service).setSecret},
		{"GET", "secrets/{name}/versions", "list the versions of a secret", permList, actionMetadata, noBody,
			(*Service).listVersions},
		{"GET", "secrets/{name}/{version?}", "get a secret", permGet, actionGet, noBody, (*Service).getSecret},
		{"PATCH", "secrets/{name}/{version?}", "update a secret", permSet, actionUpdate, secretBody, (*Service).updateSecret},
		{"GET", "secrets", "list secrets", permList, actionMetadata, noBody, (*Service).listSecrets},
		{"DELETE", "secrets/{name}", "delete a secret", permDelete, actionDelete, noBody, (*Service).deleteSecret},
		{"POST", "secrets/{name}/backup", "back a secret up", permBackup, actionBackup, noBody, (*Service).backupSecret},
		{"POST", "secrets/restore", "restore a secret", permRestore, actionRestore, backupBody, (*Service).restoreSecret},
		{"GET", "deletedsecrets", "list deleted secrets", permList, actionMetadata, noBody, (*Service).listDeleted},
		{"GET", "deletedsecrets/{name}", "get a deleted secret", permGet, actionMetadata, noBody, (*Service).getDeleted},
		{"DELETE", "deletedsecrets/{name}", "purge a deleted secret", permPurge, actionPurge, noBody, (*Service).purgeDeleted},
		{"POST", "deletedsecrets/{name}/recover", "recover a deleted secret", permRecover, actionRecover, noBody,
			(*Service).recoverDeleted},
	}
}

// Operation is one row of the data plane that the local cloud serves.
type Operation struct {
	Method     string
	Path       string // with {name} and {version}
	About      string
	Permission string // of an access policy
	Action     string // of a role
}

// Operations lists what is served.
func Operations() []Operation {
	var all []Operation
	for _, op := range operations {
		all = append(all, Operation{op.method, "/" + op.path, op.about, op.permission, actionPrefix + op.action})
	}
	return all
}

// Absent are the parts of Key Vault that are not served, by the first segment of their paths. Requests for them are
// answered with 501 and the code NotImplementedByLocalCloud.
var Absent = map[string]string{
	"keys":                "keys: create, import, sign, encrypt, wrap, rotate, release",
	"deletedkeys":         "deleted keys",
	"certificates":        "certificates and their issuers, contacts, policies and operations",
	"deletedcertificates": "deleted certificates",
	"storage":             "managed storage accounts",
	"deletedstorage":      "deleted managed storage accounts",
	"rng":                 "random bytes, Managed HSM",
	"backup":              "backup of a whole Managed HSM",
	"restore":             "restore of a whole Managed HSM",
	"securitydomain":      "the security domain of a Managed HSM",
	"settings":            "settings of a Managed HSM",
	"providers":           "role assignments and definitions of a Managed HSM",
}

// Names have 1 to 127 letters, digits and hyphens.
// Source: https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#object-identifiers
var secretName = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)

// route finds the operation that a request is for, and takes the name and version out of its path. Double and trailing
// slashes mean nothing: SDKs send both.
func (c *call) route() (operation, error) {
	segments := slices.DeleteFunc(strings.Split(c.URL.Path, "/"), func(s string) bool { return s == "" })
	known := false
	for _, op := range operations {
		name, version, matches := match(op.path, segments)
		if !matches {
			continue
		}
		if known = true; op.method != c.Method {
			continue
		}
		if name != "" && !secretName.MatchString(name) {
			return operation{}, errName(name)
		}
		c.name, c.version = name, strings.ToLower(version)
		return op, nil
	}
	if known {
		return operation{}, errMethod(c.Method)
	}
	if len(segments) > 0 && Absent[segments[0]] != "" {
		return operation{}, errNotImplemented(segments[0], Absent[segments[0]])
	}
	return operation{}, errNoRoute()
}

func match(pattern string, segments []string) (name, version string, matches bool) {
	want := strings.Split(pattern, "/")
	if last := len(want) - 1; want[last] == "{version?}" && len(segments) == last {
		want = want[:last]
	}
	if len(want) != len(segments) {
		return "", "", false
	}
	for i, segment := range segments {
		switch want[i] {
		case "{name}":
			name = segment
		case "{version}", "{version?}":
			version = segment
		case segment:
		default:
			return "", "", false
		}
	}
	return name, version, true
}

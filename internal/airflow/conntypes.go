package airflow

import (
	_ "embed"
	"slices"
	"strings"
)

//go:embed conntypes.txt
var connectionTypes string

// KnownConnectionTypes lists the connection types that the providers of the Airflow community bring, sorted, as conn_type
// holds them. The list's own head tells where it is from and how it is made anew. A type that is not listed may well belong
// to a provider of somebody else: its absence is a hint and no error.
func KnownConnectionTypes() []string {
	var all []string
	for line := range strings.Lines(connectionTypes) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

// IsKnownConnectionType tells whether KnownConnectionTypes has the type.
func IsKnownConnectionType(connType string) bool {
	_, found := slices.BinarySearch(KnownConnectionTypes(), connType)
	return found
}

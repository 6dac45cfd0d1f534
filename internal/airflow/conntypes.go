package airflow

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed conntypes.txt
var connectionTypesText string

var connectionTypes = sync.OnceValue(func() []string {
	var all []string
	for line := range strings.Lines(connectionTypesText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
})

// KnownConnectionTypes lists the connection types that the providers of the Airflow community bring, sorted, as conn_type
// holds them. The head of conntypes.txt tells where they are from and how the list is made anew. A type that is not listed
// may well belong to a provider of somebody else: its absence is a hint and no error.
func KnownConnectionTypes() []string { return slices.Clone(connectionTypes()) }

// IsKnownConnectionType tells whether KnownConnectionTypes has the type.
func IsKnownConnectionType(connType string) bool {
	_, found := slices.BinarySearch(connectionTypes(), connType)
	return found
}

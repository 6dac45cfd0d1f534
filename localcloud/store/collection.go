package store

import (
	"encoding/json"
	"fmt"
)

// Collection is one collection of documents, each a T in JSON.
type Collection[T any] struct {
	In   Documents
	Name string
}

// Get gives all of the collection by key; one that was never written to is empty.
func (c Collection[T]) Get() (map[string]*T, error) {
	documents, err := c.In.Documents(c.Name)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*T, len(documents))
	for key, raw := range documents {
		record := new(T)
		if json.Unmarshal(raw, record) != nil {
			// The cause would quote the document, which may hold secrets.
			return nil, fmt.Errorf("the database holds a document of %s that does not decode: %s", c.Name, key)
		}
		all[key] = record
	}
	return all, nil
}

// Put writes a record over the one there was.
func (c Collection[T]) Put(key string, record *T) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return c.In.PutDocument(c.Name, key, raw)
}

// Drop forgets a record. An unknown one is no error.
func (c Collection[T]) Drop(key string) error { return c.In.DropDocument(c.Name, key) }

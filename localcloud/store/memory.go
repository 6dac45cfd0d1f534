package store

import (
	"bytes"
	"maps"
	"slices"
	"sync"
)

// NewMemory returns a store that forgets everything when it is closed.
func NewMemory() Store {
	return &memory{vaults: map[string]*memoryVault{}, documents: map[string]map[string][]byte{}}
}

type memory struct {
	mu        sync.RWMutex
	vaults    map[string]*memoryVault
	documents map[string]map[string][]byte // by collection and key
}

type memoryVault struct {
	names   []string // folded, sorted
	secrets map[string]*memorySecret
	undo    []func() // reverts what the running Update did, newest last
}

type memorySecret struct {
	record   Secret
	ids      []string // sorted
	versions map[string]Version
}

func (m *memory) View(vault string, fn func(Reader) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v := m.vaults[vault]
	if v == nil {
		v = &memoryVault{}
	}
	return fn(v)
}

func (m *memory) Update(vault string, fn func(Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.vaults[vault]
	if v == nil {
		v = &memoryVault{secrets: map[string]*memorySecret{}}
		m.vaults[vault] = v
	}
	v.undo = nil
	done := false
	defer func() { // also when fn panics
		if !done {
			for _, revert := range slices.Backward(v.undo) {
				revert()
			}
		}
		v.undo = nil
	}()
	if err := fn(v); err != nil {
		return err
	}
	done = true
	return nil
}

func (m *memory) Close() error { return nil }

func (m *memory) Documents(collection string) (map[string][]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return maps.Clone(m.documents[collection]), nil
}

func (m *memory) PutDocument(collection, key string, document []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.documents[collection] == nil {
		m.documents[collection] = map[string][]byte{}
	}
	m.documents[collection][key] = bytes.Clone(document)
	return nil
}

func (m *memory) DropDocument(collection, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.documents[collection], key)
	return nil
}

func (v *memoryVault) Secret(name string) (Secret, bool, error) {
	s := v.secrets[Fold(name)]
	if s == nil {
		return Secret{}, false, nil
	}
	return s.record, true, nil
}

func (v *memoryVault) Version(name, id string) (Version, bool, error) {
	s := v.secrets[Fold(name)]
	if s == nil {
		return Version{}, false, nil
	}
	version, found := s.versions[id]
	return version, found, nil
}

func (v *memoryVault) Secrets(after string, limit int) ([]Secret, error) {
	var page []Secret
	for _, name := range behind(v.names, Fold(after), limit) {
		page = append(page, v.secrets[name].record)
	}
	return page, nil
}

func (v *memoryVault) Versions(name, after string, limit int) ([]Version, error) {
	s := v.secrets[Fold(name)]
	if s == nil {
		return nil, nil
	}
	var page []Version
	for _, id := range behind(s.ids, after, limit) {
		page = append(page, s.versions[id])
	}
	return page, nil
}

// behind cuts at most limit strings that sort behind after out of a sorted list.
func behind(sorted []string, after string, limit int) []string {
	from, found := slices.BinarySearch(sorted, after)
	if found {
		from++
	}
	return sorted[from:min(from+limit, len(sorted))]
}

func (v *memoryVault) PutSecret(record Secret) error {
	name := Fold(record.Name)
	if s := v.secrets[name]; s != nil {
		old := s.record
		v.undo = append(v.undo, func() { s.record = old })
		s.record = record
		return nil
	}
	v.insert(name, &memorySecret{record: record, versions: map[string]Version{}})
	return nil
}

func (v *memoryVault) insert(name string, s *memorySecret) {
	v.undo = append(v.undo, func() { v.remove(name) })
	v.secrets[name] = s
	at, _ := slices.BinarySearch(v.names, name)
	v.names = slices.Insert(v.names, at, name)
}

func (v *memoryVault) remove(name string) {
	delete(v.secrets, name)
	if at, found := slices.BinarySearch(v.names, name); found {
		v.names = slices.Delete(v.names, at, at+1)
	}
}

func (v *memoryVault) PutVersion(name string, version Version) error {
	s := v.secrets[Fold(name)]
	if s == nil {
		return errNoSecret
	}
	if old, found := s.versions[version.ID]; found {
		v.undo = append(v.undo, func() { s.versions[old.ID] = old })
		s.versions[version.ID] = version
		return nil
	}
	v.undo = append(v.undo, func() {
		delete(s.versions, version.ID)
		if at, found := slices.BinarySearch(s.ids, version.ID); found {
			s.ids = slices.Delete(s.ids, at, at+1)
		}
	})
	s.versions[version.ID] = version
	at, _ := slices.BinarySearch(s.ids, version.ID)
	s.ids = slices.Insert(s.ids, at, version.ID)
	return nil
}

func (v *memoryVault) Drop(name string) error {
	name = Fold(name)
	s := v.secrets[name]
	if s == nil {
		return nil
	}
	v.remove(name)
	v.undo = append(v.undo, func() {
		v.secrets[name] = s
		at, _ := slices.BinarySearch(v.names, name)
		v.names = slices.Insert(v.names, at, name)
	})
	return nil
}

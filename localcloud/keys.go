package localcloud

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// memoryKey signs the tokens of all clouds of a process that keep nothing: it takes a good part of a second to make.
var memoryKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// signingKey returns a func that finds the key of a folder, or makes it, once.
func (c *Cloud) signingKey(dir string) func() (*rsa.PrivateKey, error) {
	if dir == "" {
		return memoryKey
	}
	return sync.OnceValues(func() (*rsa.PrivateKey, error) {
		path := filepath.Join(dir, "token.key")
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return makeKey(path)
		}
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(raw)
		if block == nil {
			return nil, fmt.Errorf("%s is not a PEM file; remove it to get a new one", path)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		key, ok := parsed.(*rsa.PrivateKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s holds no RSA key; remove it to get a new one", path)
		}
		return key, nil
	})
}

func makeKey(path string) (*rsa.PrivateKey, error) {
	key, err := memoryKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeKey(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeKey writes in one step, so that a kill in between leaves no half key behind. One process at a time has the folder.
func writeKey(path string, key []byte) error {
	partial := path + ".new"
	if err := os.WriteFile(partial, key, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// randomKey finds 32 random bytes in a file of a folder, or makes them. Without a folder they last as long as the cloud.
func randomKey(dir, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // does not fail
	if dir == "" {
		return fresh, nil
	}
	path := filepath.Join(dir, name)
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fresh, writeKey(path, fresh)
	case err == nil && len(key) != len(fresh):
		return nil, fmt.Errorf("%s has %d bytes instead of %d; remove it to get a new one", path, len(key), len(fresh))
	}
	return key, err
}

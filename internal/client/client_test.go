package client

import (
	"net"
	"testing"

	"github.com/airlock-secrets/airlock/internal/fault"
	"github.com/airlock-secrets/airlock/internal/secret"
)

func TestOnLoopback(t *testing.T) {
	for address, good := range map[string]bool{
		"127.0.0.1": true, "127.8.8.8": true, "::1": true, "::ffff:127.0.0.1": true,
		"10.0.0.1": false, "::": false, "0.0.0.0": false, "192.0.2.1": false, "fe80::1": false, "::ffff:10.0.0.1": false,
	} {
		if err := onLoopback(&net.TCPAddr{IP: net.ParseIP(address)}); (err == nil) != good || err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestNobodyByTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := NewTCP(l.Addr().String(), secret.FromString("canary"))
	defer c.Close()
	if err := c.Health(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

package agent

// An agent holds little, so that Go's collector comes by after every 2 MB or so that requests leave behind: under load, a
// sixth of the agent's time. It may leave more behind while many ask; when nobody does any more, all of it is given back.
const (
	busyRequests = 1000 // between two looks, from which on memory is traded for speed
	busyPercent  = 300  // how much the collector lets by then, of what is held or of 4 MiB: see GOGC in package runtime
	restLooks    = 5    // without anything to do, until memory is given back
	fewRequests  = 20   // between two looks, are nothing to do: somebody asks for the health or the metrics
)

// Memory is how a daemon steers the memory of its process. The zero value leaves it to Go.
type Memory struct {
	SetGCPercent func(percent int) (before int) // debug.SetGCPercent; nil: whoever runs the agent has chosen
	GiveBack     func()                         // returns to the system what is kept for later; nil: Go does, over minutes
}

// thrift decides when.
type thrift struct {
	Memory
	requests, vault int64 // seen at the last look
	usual           int   // the percentage of times that are not busy
	busy            bool
	calm            int  // looks without anything to do, since there was something
	given           bool // all was given back since then
}

// look takes how many requests there were so far, and how often a vault was asked. It is called once every lookEvery.
func (t *thrift) look(requests, vault int64) {
	news, asked := requests-t.requests, vault != t.vault
	t.requests, t.vault = requests, vault
	if busy := news >= busyRequests; busy != t.busy && t.SetGCPercent != nil {
		if t.busy = busy; busy {
			t.usual = t.SetGCPercent(busyPercent)
		} else {
			t.SetGCPercent(t.usual)
		}
	}
	if asked || news > fewRequests {
		t.calm, t.given = 0, false
		return
	}
	if t.calm++; t.calm >= restLooks && !t.given {
		t.given = true
		if t.GiveBack != nil {
			t.GiveBack()
		}
	}
}

// vaultWork grows whenever a vault is asked for anything.
func (d *Daemon) vaultWork() (n int64) {
	for _, a := range d.plan.Load().Vaults {
		n += a.vaultRequests.Load() + a.pages.Load()
	}
	return n
}

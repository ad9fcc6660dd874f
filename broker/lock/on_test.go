//go:build invariants

package lock

import "testing"

func TestOrder(t *testing.T) {
	var (
		gate    RWMutex[Gate]
		client  Mutex[Client]
		another Mutex[Client]
		leaf    Mutex[Leaf]
	)
	panics := func(f func()) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		f()
		return false
	}
	gate.RLock()
	client.Lock()
	gate.RUnlock() // out of turn
	leaf.Lock()
	for what, f := range map[string]func(){
		"one that comes before": gate.RLock,
		"two of one place":      another.Lock,
		"a wait":                NoneHeld,
	} {
		if !panics(f) {
			t.Errorf("%s is not noticed", what)
		}
	}
	leaf.Unlock()
	client.Unlock()
	NoneHeld()
	gate.Lock()
	done := make(chan bool)
	go func() { done <- panics(func() { client.Lock(); client.Unlock(); NoneHeld() }) }()
	if <-done {
		t.Error("what another goroutine holds counts")
	}
	if !panics(gate.RLock) {
		t.Error("the gate is entered twice, and that is not noticed")
	}
	gate.Unlock()
	if gate.TryLock() {
		gate.Unlock()
	} else {
		t.Error("a free mutex is not taken")
	}
	NoneHeld()
}

package broker

import "testing"

// The packets that began first are closed for, however their Clients keep them going, until the
// others are within the limit; small ones and those that went on to the next packet are not.
func TestPartials(t *testing.T) {
	var p partials
	old, next, young, small := new(conn), new(conn), new(conn), new(conn)
	const large = debtBytesMin
	p.note(old, 0, large, 1, true)
	p.note(next, 0, large, 2, true)
	p.note(young, 0, large, 3, true)
	p.note(small, 0, large-1, 0, true)
	p.note(old, large, 2*large, 9, false)
	p.note(next, large, large, 10, true)
	if taken := p.takeOldest(4 * large); taken != nil {
		t.Errorf("closed although there is room: %v", taken)
	}
	if taken := p.takeOldest(2 * large); len(taken) != 1 || taken[0] != (debtor{old, 2 * large}) {
		t.Errorf("closed: %v, want the oldest", taken)
	}
	p.note(young, large, 0, 0, false)
	if taken := p.takeOldest(0); len(taken) != 1 || taken[0].c != next || len(p.of) != 0 {
		t.Errorf("closed: %v, want the one that is left", taken)
	}
}

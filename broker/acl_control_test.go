package broker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestACLControl runs the oracle against brokers that do not ask on one path, or do not care
// whose a Session is, which only a build with the tag control does. Each must be noticed.
func TestACLControl(t *testing.T) {
	skipControl(t)
	binary := filepath.Join(t.TempDir(), "broker.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "control", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the control: %v\n%s", err, out)
	}
	for _, rule := range []string{
		"not-asked-publish", "not-asked-subscribe", "not-asked-will-at-connect", "not-asked-will-at-end", "not-asked-live",
		"not-asked-will", "not-asked-retained", "not-asked-handed-over", "not-asked-queued", "not-asked-resumed", "not-asked-shared",
	} {
		t.Run(rule, func(t *testing.T) {
			c := exec.Command(binary, "-test.run", "^TestACLOracle$", "-acl.cases=100000", "-test.timeout=10m")
			c.Env = append(os.Environ(), "BREAK_RULES="+rule)
			if out, err := c.CombinedOutput(); err == nil {
				t.Errorf("not noticed:\n%s", out)
			}
		})
	}
	t.Run("owner-ignored", func(t *testing.T) {
		c := exec.Command(binary, "-test.run", "^(TestSessionOwner|TestKeptWillOwner)$", "-test.timeout=10m")
		c.Env = append(os.Environ(), "BREAK_RULES=owner-ignored")
		if out, err := c.CombinedOutput(); err == nil {
			t.Errorf("not noticed:\n%s", out)
		}
	})
}

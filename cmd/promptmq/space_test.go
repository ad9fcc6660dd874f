package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0a1b/promptmq/codec"
)

// storage.max-size: what would be stored beyond it is refused, and the broker is
// ready. Package broker has the rest.
func TestMaxSize(t *testing.T) {
	t.Parallel()
	shows(t, "storage.max-size")
	const limit = 1 << 20
	s := start(t, fmt.Sprintf("storage: {max-size: %d}", limit))
	absent(t, s, "sub", "q")
	pub := v5Of(t, s, "pub", nil)
	accepted := 0
	for payload := strings.Repeat("x", 4000); accepted < 1000; accepted++ {
		if r := pub.publish1(1, "q", payload); r == codec.QuotaExceeded {
			break
		} else if r != codec.Success {
			t.Fatalf("message %d: %v", accepted, r)
		}
	}
	if accepted < 100 || accepted > 250 {
		t.Errorf("%d messages of 4 kB fit in %d bytes", accepted, limit)
	}
	info, err := os.Stat(filepath.Join(s.dataDir(), "promptmq.db"))
	if err != nil || info.Size() > limit {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if n := s.metric("promptmq_store_full"); n != 1 {
		t.Errorf("promptmq_store_full is %v", n)
	}
	if code, body := s.get("/ready"); code != 200 {
		t.Errorf("/ready: %d %s", code, body)
	}
}

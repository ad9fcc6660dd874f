package main

import (
	"strconv"
	"strings"
)

// scrape returns every sample of /metrics, by name with labels.
func (s *server) scrape() map[string]float64 {
	s.t.Helper()
	_, body := s.get("/metrics")
	samples := make(map[string]float64)
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		samples[line[:at]] = v
	}
	return samples
}

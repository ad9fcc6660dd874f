package login

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// A webServer answers in place of one: no socket is open, so time can be virtual.
type webServer struct {
	mu     sync.Mutex
	asked  int
	bodies []string
	answer func(ctx context.Context, body string) (status int, text string, err error)
}

func (s *webServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.mu.Lock()
	s.asked++
	s.bodies = append(s.bodies, string(body))
	answer := s.answer
	s.mu.Unlock()
	status, text, err := answer(r.Context(), string(body))
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader([]byte(text))), Header: http.Header{}, Request: r}, nil
}

func (s *webServer) says(status int, text string) {
	s.does(func(context.Context, string) (int, string, error) { return status, text, nil })
}

func (s *webServer) does(answer func(ctx context.Context, body string) (int, string, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *webServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// hangs answers when the one who asks has given up.
func hangs(ctx context.Context, _ string) (int, string, error) {
	<-ctx.Done()
	return 0, "", ctx.Err()
}

func breaks(context.Context, string) (int, string, error) {
	return 0, "", errors.New("connection refused")
}

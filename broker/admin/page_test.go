package admin

import (
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// eachPageFile calls f with every file of the page.
func eachPageFile(t *testing.T, f func(name, text string)) {
	t.Helper()
	names, err := fs.Glob(pageFiles, "page/*")
	if err != nil || len(names) < 15 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(pageFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		f(strings.TrimPrefix(name, "page/"), string(text))
	}
}

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
	if len(header) > 0 {
		r.Header.Set(header[0], header[1])
	}
	h.ServeHTTP(w, r)
	return w
}

// TestPageFiles: each is served with its type, a policy and a strong tag, and not again while
// it is the same.
func TestPageFiles(t *testing.T) {
	page := New("test", slog.New(slog.DiscardHandler), func() {})
	eachPageFile(t, func(name, text string) {
		path := "/" + name
		if name == "index.html" {
			path = "/"
		}
		w := ask(page, http.MethodGet, path)
		tag := w.Header().Get("Etag")
		if w.Code != http.StatusOK || w.Body.String() != text || w.Header().Get("Content-Type") != pageTypes[filepath.Ext(name)] {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
		if !strings.HasPrefix(tag, `"`) || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: tag %s, %v", path, tag, w.Header())
		}
		for key, want := range map[string]string{
			"Content-Security-Policy": pagePolicy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(key); got != want {
				t.Errorf("%s: %s is %q", path, key, got)
			}
		}
		if again := ask(page, http.MethodGet, path, "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s: %d for the same tag", path, again.Code)
		}
		if w := ask(page, http.MethodPost, path); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	})
	for _, path := range []string{"/other", "/page/main.js", "/index.html", "/../page.go", "/main.js/"} {
		if w := ask(page, http.MethodGet, path); w.Code == http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Text that would make a browser run or load something that is not a file of the page.
var notInPage = map[string]*regexp.Regexp{
	"a script in the page":      regexp.MustCompile(`(?i)<script(?:[^>]*>[^<]|[^>]*\bsrc="[^"]*[:/])`),
	"a style in the page":       regexp.MustCompile(`(?i)<style|\bstyle="|["']style["']\s*[:,]|\.style\b|cssText`),
	"a listener in the page":    regexp.MustCompile(`(?i)<[^>]*\son[a-z]+="`),
	"an address elsewhere":      regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9-]+\.[a-z]|@import|url\(`),
	"HTML out of a text":        regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc`),
	"a program out of a text":   regexp.MustCompile(`\beval\b|new Function|import\(|setTimeout\(["'` + "`" + `]|javascript:`),
	"something kept in storage": regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie`),
}

// TestPageIsItsOwn: no file has, loads or makes a script or style that is not a file of the page.
func TestPageIsItsOwn(t *testing.T) {
	var names []string
	eachPageFile(t, func(name, _ string) { names = append(names, name) })
	imports := regexp.MustCompile(`(?m)^import .*"\./([^"]+)";$`)
	eachPageFile(t, func(name, text string) {
		checked := strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
		for what, pattern := range notInPage {
			if found := pattern.FindString(checked); found != "" {
				t.Errorf("%s has %s: %q", name, what, found)
			}
		}
		if filepath.Ext(name) != ".js" {
			return
		}
		if !strings.HasPrefix(text, "// ") {
			t.Errorf("%s does not say at its head what it is", name)
		}
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s imports %s", name, m[1])
			}
		}
		if all := strings.Count(text, "\nimport ") + strings.Count(text[:min(7, len(text))], "import "); all != len(imports.FindAllString(text, -1)) {
			t.Errorf("%s imports something that is no file of the page", name)
		}
	})
}

// TestPageControl: what TestPageIsItsOwn looks for, it would find.
func TestPageControl(t *testing.T) {
	for what, text := range map[string]string{
		"a script in the page": `<script>alert(1)</script>`, "a style in the page": `h("p", {"style": "x"})`, "a listener in the page": `<a onclick="x">`,
		"an address elsewhere": `<img src="//cdn.example.org/x.png">`, "HTML out of a text": `e.innerHTML = name`, "a program out of a text": `eval(name)`,
		"something kept in storage": `localStorage.token = x`,
	} {
		if !notInPage[what].MatchString(text) {
			t.Errorf("%s is not found in %s", what, text)
		}
	}
}

// Colours of the page on what they stand, and the contrast that WCAG 2.2 AA wants: 4.5 for
// text, 3 for the edges of what can be operated.
var pageContrasts = []struct {
	on, of string
	least  float64
}{
	{"ground", "ink quiet accent good warn bad", 4.5},
	{"sheet", "ink quiet accent good warn bad", 4.5},
	{"sunk", "ink quiet accent", 4.5},
	{"tint", "ink accent", 4.5},
	{"accent", "accent-ink", 4.5},
	{"warn-ground", "ink quiet accent", 4.5},
	{"bad-ground", "ink quiet accent bad", 4.5},
	{"sheet", "edge accent c0 c1 c2 c3 c4 c5 c6 c7", 3},
	{"ground", "edge accent", 3},
}

// TestPageContrast: texts can be read, in light and dark.
func TestPageContrast(t *testing.T) {
	css, err := fs.ReadFile(pageFiles, "page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, found := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !found {
		t.Fatal("no colours for dark")
	}
	dark, _, _ = strings.Cut(dark, "\n}")
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): #([0-9a-f]{3,6});`).FindAllStringSubmatch(text, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, c := range pageContrasts {
			for _, of := range strings.Fields(c.of) {
				a, b := colours[c.on], colours[of]
				if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < c.least {
					t.Errorf("%s: %s on %s has the contrast %.2f, want %.1f", scheme, of, c.on, got, c.least)
				}
			}
		}
	}
}

// luminance is the relative luminance of a colour, as WCAG has it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v uint64) float64 {
		c := float64(v&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(n>>16) + 0.7152*part(n>>8) + 0.0722*part(n)
}

package admin

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	page := Page()
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

// TestPageScripts: node can read them, if there is one.
func TestPageScripts(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node")
	}
	eachPageFile(t, func(name, text string) {
		if filepath.Ext(name) != ".js" {
			return
		}
		check := exec.Command(node, "--input-type=module", "--check", "-")
		check.Stdin = strings.NewReader(text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	})
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	linkInPage   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	anchorInPage = regexp.MustCompile(`<a (?:id|name)="([^"]+)">`)
	codeInPage   = regexp.MustCompile("`[^`]*`")
	linkOfText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchorsOf are the places of a page that a link can lead to, as GitHub names them.
func anchorsOf(t *testing.T, path string) map[string]bool {
	t.Helper()
	_, beside := blocksOf(t, path)
	anchors := make(map[string]bool)
	for _, line := range beside {
		for _, m := range anchorInPage.FindAllStringSubmatch(line, -1) {
			anchors[m[1]] = true
		}
		text := strings.TrimLeft(line, "#")
		if text == line || !strings.HasPrefix(text, " ") {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(linkOfText.ReplaceAllString(text, "$1")))
		one := slug
		for n := 1; anchors[one]; n++ {
			one = fmt.Sprintf("%s-%d", slug, n)
		}
		anchors[one] = true
	}
	return anchors
}

// TestPageLinks: what a page links is there, and the place in it.
func TestPageLinks(t *testing.T) {
	unraced(t)
	t.Parallel()
	pages := append(readablePages(t), filepath.Join(root, "ARCHITECTURE.md"), filepath.Join(root, "CHANGELOG.md"))
	for _, page := range pages {
		_, beside := blocksOf(t, page)
		for _, m := range linkInPage.FindAllStringSubmatch(codeInPage.ReplaceAllString(strings.Join(beside, ""), ""), -1) {
			link := m[1]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			name, anchor, found := strings.Cut(link, "#")
			file := page
			if name != "" {
				file = filepath.Join(filepath.Dir(page), name)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), link, err)
			} else if found && !anchorsOf(t, file)[anchor] {
				t.Errorf("%s: %s: there is no such place", filepath.Base(page), link)
			}
		}
	}
}

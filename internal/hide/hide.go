// Package hide has the patterns of Hide=: their syntax, groups of them, and the search for what they
// match.
package hide

import (
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed groups
var groupsText string

// Groups are the groups of patterns by name, which starts with @.
var Groups = parseGroups(groupsText)

func parseGroups(text string) map[string][]string {
	groups := map[string][]string{}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 && words[0][0] == '@' {
			groups[words[0]] = append(groups[words[0]], words[1:]...)
		}
	}
	return groups
}

// anywhere is the start of a pattern that matches in all directories.
const anywhere = "**/"

// IsPattern reports whether a word of Hide= is a pattern, an exception or a group. Other words are
// paths.
func IsPattern(word string) bool {
	return strings.ContainsAny(word, "*?") || strings.HasPrefix(word, "@") || strings.HasPrefix(word, "!")
}

// Check returns an error if a pattern is not valid. What is not allowed in paths, such as "..", is
// not checked.
func Check(word string) error {
	if strings.HasPrefix(word, "@") {
		if Groups[word] == nil {
			return errors.New("unknown group")
		}
		return nil
	}
	word, exception := strings.CutPrefix(word, "!")
	rest := strings.TrimPrefix(word, anywhere)
	switch {
	case strings.Trim(rest, "*/") == "" && !exception:
		return errors.New("matches everything")
	case strings.Trim(rest, "/") == "":
		return errors.New("empty pattern")
	case strings.Contains(rest, "**"):
		return errors.New("** is supported only at the start, as **/")
	case word != rest && strings.Contains(rest, "/"):
		return fmt.Errorf("%s must be followed by a name without /", anywhere)
	case strings.ContainsAny(rest[:1], "@!"):
		return fmt.Errorf("a pattern cannot start with %c", rest[0])
	}
	return nil
}

// Rules are compiled patterns.
type Rules struct{ hidden, except patterns }

// patterns match names in all directories, or paths.
type patterns struct {
	exact map[string]bool // names without wildcards; the value reports whether only groups have them
	globs []glob
	paths [][]string // components, relative to the work directory
}

// glob is a pattern of a name.
type glob struct {
	prefix, suffix string // around the first asterisk
	rest           string // not empty: for path.Match, because prefix and suffix are not enough
	ofGroup        bool
}

// Compile returns the rules of those words of Hide= that are patterns. They must be valid.
func Compile(words []string) *Rules {
	r := &Rules{}
	for _, word := range words {
		switch {
		case !IsPattern(word):
		case word[0] == '@':
			for _, member := range Groups[word] {
				member, exception := strings.CutPrefix(member, "!")
				r.add(anywhere+member, exception, true)
			}
		default:
			word, exception := strings.CutPrefix(word, "!")
			r.add(word, exception, false)
		}
	}
	return r
}

func (r *Rules) add(word string, exception, ofGroup bool) {
	p := &r.hidden
	if exception {
		p = &r.except
	}
	rest, inAll := strings.CutPrefix(word, anywhere)
	rest = path.Clean(rest)
	isGlob := strings.ContainsAny(rest, "*?")
	switch {
	case !inAll && (!isGlob || strings.Contains(rest, "/")):
		p.paths = append(p.paths, strings.Split(rest, "/"))
	case isGlob:
		p.globs = append(p.globs, newGlob(rest, ofGroup))
	default:
		if p.exact == nil {
			p.exact = map[string]bool{}
		}
		if only, found := p.exact[rest]; !found || only {
			p.exact[rest] = ofGroup
		}
	}
}

// Empty reports whether the rules match nothing.
func (r *Rules) Empty() bool { return !r.hidden.haveNames(true) && len(r.hidden.paths) == 0 }

func newGlob(pattern string, ofGroup bool) glob {
	g := glob{ofGroup: ofGroup}
	g.prefix, g.suffix, _ = strings.Cut(pattern, "*")
	if strings.Contains(g.suffix, "*") || strings.Contains(pattern, "?") {
		g.rest = pattern
	}
	return g
}

func (g *glob) match(name string) bool {
	if g.rest != "" {
		return match(g.rest, name)
	}
	return len(name) >= len(g.prefix)+len(g.suffix) && strings.HasPrefix(name, g.prefix) && strings.HasSuffix(name, g.suffix)
}

// literal quotes characters that are special to path.Match but not in Hide=.
var literal = strings.NewReplacer(`\`, `\\`, "[", `\[`)

// match matches the pattern of one component.
func match(pattern, text string) bool {
	ok, _ := path.Match(literal.Replace(pattern), text) // valid by construction
	return ok
}

// match reports whether the rules match a path, given by its components. Without names, only
// patterns with a slash match, and without groups, no group does.
func (r *Rules) match(components []string, names, groups bool) bool {
	name := components[len(components)-1]
	return (names && r.hidden.matchName(name, groups) || r.hidden.matchPath(components)) &&
		!r.except.matchName(name, groups) && !r.except.matchPath(components)
}

func (p *patterns) matchName(name string, groups bool) bool {
	if ofGroup, found := p.exact[name]; found && (groups || !ofGroup) {
		return true
	}
	for i := range p.globs {
		if g := &p.globs[i]; (groups || !g.ofGroup) && g.match(name) {
			return true
		}
	}
	return false
}

func (p *patterns) matchPath(components []string) bool {
	return slices.ContainsFunc(p.paths, func(pattern []string) bool {
		return len(pattern) == len(components) && matchStart(pattern, components)
	})
}

// haveNames reports whether there are patterns that match in all directories.
func (p *patterns) haveNames(groups bool) bool {
	for _, ofGroup := range p.exact {
		if groups || !ofGroup {
			return true
		}
	}
	return slices.ContainsFunc(p.globs, func(g glob) bool { return groups || !g.ofGroup })
}

// enters reports whether something in a directory can match.
func (r *Rules) enters(components []string) bool {
	return slices.ContainsFunc(r.hidden.paths, func(pattern []string) bool {
		return len(pattern) > len(components) && matchStart(pattern, components)
	})
}

// matchStart matches components with the first ones of a pattern.
func matchStart(pattern, components []string) bool {
	for i, c := range components {
		if !match(pattern[i], c) {
			return false
		}
	}
	return true
}

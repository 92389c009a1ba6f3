package policy

import (
	_ "embed"
	"strings"
)

//go:embed groups
var groupsText string

// Group is a named list of rules.
type Group struct {
	Name  string   `json:"name"` // with @
	Names []string `json:"names"`
}

// Groups lists the groups that Allow= and Deny= accept.
var Groups = parseGroups(groupsText)

func parseGroups(text string) []Group {
	var groups []Group
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) > 0 && words[0][0] == '@' {
			groups = append(groups, Group{Name: words[0], Names: words[1:]})
		}
	}
	return groups
}

// findGroup returns the group with this name, or nil.
func findGroup(name string) *Group {
	for i := range Groups {
		if Groups[i].Name == name {
			return &Groups[i]
		}
	}
	return nil
}

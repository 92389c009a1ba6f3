// Package templates embeds the text of what the generator writes. Values arrive
// in it escaped.
package templates

import (
	"embed"
	"text/template"
)

//go:embed *.tmpl
var files embed.FS

// DropIn is a drop-in of a unit. Its Head is a comment; its Unit and Service are
// lines of these sections, each after a line break.
func DropIn() *template.Template {
	return template.Must(template.ParseFS(files, "dropin.conf.tmpl"))
}

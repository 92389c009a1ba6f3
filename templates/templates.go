// Package templates embeds the text of what the generator writes. Values arrive
// in it escaped.
package templates

import (
	"embed"
	"text/template"
)

//go:embed *.tmpl
var files embed.FS

// DropIn is a drop-in of a unit.
func DropIn() *template.Template {
	return template.Must(template.ParseFS(files, "dropin.conf.tmpl"))
}

// Package templates embeds the templates of generated files. Callers must escape the
// values that they pass.
package templates

import (
	"embed"
	"text/template"
)

//go:embed *.tmpl
var files embed.FS

// DropIn returns the template of a drop-in. Its data is described in package dropin.
func DropIn() *template.Template {
	return template.Must(template.ParseFS(files, "dropin.conf.tmpl"))
}

package instance

import (
	"encoding/json"
	"errors"
	"os"
)

// Secrets are what the record must not contain, because QEMU can read it. Setup writes them,
// and the gateway and the setup of a restart read them.
type Secrets struct {
	// Inject are the values of the credentials that the gateway adds to requests.
	Inject map[string]string `json:"inject,omitempty"`
	// Commands print values of Inject. They are for the shell, by the name of the secret.
	Commands map[string]string `json:"commands,omitempty"`
	// Requested are those of them that were in the environment of the request.
	Requested map[string]string `json:"requested,omitempty"`
	// API is the URL of the API that they are for. It may contain a password.
	API string `json:"api,omitempty"`
	// Proxy is the setting Proxy=, which may contain a password.
	Proxy string `json:"proxy,omitempty"`
	// ExtraCA is the content of the file of ExtraCA=, which the gateway cannot read.
	ExtraCA []byte `json:"extraCA,omitempty"`
}

func (p Paths) secretsPath(id string) string { return p.private(id, "secrets") }

// GatewayDirectory returns the directory with the files of the gateway. It exists while the
// instance has a network.
func (p Paths) GatewayDirectory(id string) string { return p.private(id, "gateway") }

// ReadSecrets returns the secrets of an instance; none if there is no file.
func (p Paths) ReadSecrets(id string) (Secrets, error) {
	var s Secrets
	text, err := os.ReadFile(p.secretsPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// WriteSecrets changes the secrets. It does not replace the file, which the gateway's unit has
// mounted.
func (p Paths) WriteSecrets(id string, s Secrets) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(p.secretsPath(id), text, 0o600)
}

package keyvault

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
)

// maxPage is how many items a page holds at most, and holds if the request does not say.
const maxPage = 25

// page is the answer of the lists. NextLink is null on the last page.
type page struct {
	Value    []bundle `json:"value"`
	NextLink *string  `json:"nextLink"`
}

// marker is what a skip token hides, in the shape of the service's own; clients must not look inside.
type marker struct {
	NextMarker     string
	TargetLocation int
}

// position says where the page that a request wants begins, and how long it may be.
func (c *call) position() (after string, limit int, err error) {
	limit = maxPage
	if c.query.Has("maxresults") {
		limit, err = strconv.Atoi(c.query.Get("maxresults"))
		if err != nil || limit < 1 || limit > maxPage {
			return "", 0, errMaxResults()
		}
	}
	token := c.query.Get("$skiptoken")
	if token == "" {
		return "", limit, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	var m marker
	if err != nil || json.Unmarshal(raw, &m) != nil || m.NextMarker == "" {
		return "", 0, errSkipToken()
	}
	return m.NextMarker, limit, nil
}

// nextLink is the absolute address of the page behind the item named after. Port, order of parameters and an unescaped
// dollar are the service's; maxresults is there only if the request had it. Recorded: list_secrets_paged_*.json.
func (c *call) nextLink(path, after string) *string {
	raw, _ := json.Marshal(marker{NextMarker: after}) // has no value that could fail
	link := c.vault.links + "/" + path +
		"?api-version=" + url.QueryEscape(c.query.Get("api-version")) +
		"&$skiptoken=" + base64.RawURLEncoding.EncodeToString(raw)
	if c.query.Has("maxresults") {
		link += "&maxresults=" + c.query.Get("maxresults")
	}
	return &link
}

package contract

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
)

// Destination and the admin port both set the log level, and the last writer wins: what destination
// has said before is no new word of its.
func TestTheLastWriterOfTheLogLevelWins(t *testing.T) {
	r := newRoad(t, 0)
	await.True(t, "the proxy asks what it is told", func() bool { return <-r.asked == "self" })
	config := func(level api.Level) *api.Resource {
		return &api.Resource{Kind: api.Kind_KIND_CONFIG, Name: "self", Version: version(),
			Body: &api.Resource_Config{Config: &api.Config{Log: &api.Log{Level: level}}}}
	}
	r.send(config(api.Level_LEVEL_WARN))
	r.logs("warn")
	req, err := http.NewRequest(http.MethodPut, "http://"+r.proxy.admin+"/log-level",
		strings.NewReader("debug"))
	check(t, err)
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	resp.Body.Close()
	r.logs("debug")
	r.send(config(api.Level_LEVEL_WARN))
	r.send(&api.Resource{Kind: unknownNumber, Name: "last", Version: version()})
	r.rejects("a kind that there is not")
	r.logs("debug")
	r.send(config(api.Level_LEVEL_ERROR))
	r.logs("error")
}

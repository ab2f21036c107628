/*
 * metrics.c - sallyctl metrics: what the running server has counted, as text for Prometheus.
 */
#include <string.h>

#include "ctl/live.h"

int
metrics_run(struct ctl_call *call)
{
	struct control_request r = {.command = CONTROL_METRICS};
	struct buffer text = {0}, out = {0};
	int status = CTL_FAILED;
	struct live l;
	json_t *line;

	if (option_on(call, "openmetrics"))
		control_set(&r, CONTROL_OPENMETRICS);
	if (!live_ask(&l, call, &r))
		return CTL_FAILED;
	while ((line = live_next(&l, NULL)) != NULL && !live_over(line)) {
		json_bytes(line, "metrics", &text);
		json_decref(line);
	}
	if (line != NULL)
		status = live_verdict(&l, line);
	json_decref(line);
	live_close(&l);
	if (status == CTL_YES && call->json) {
		buffer_puts(&out, "{\"metrics\":");
		buffer_put_json(&out, text.p, text.len);
		buffer_puts(&out, "}\n");
	} else if (status == CTL_YES)
		buffer_put(&out, text.p, text.len);
	buffer_free(&text);
	return ctl_done(&out, status);
}

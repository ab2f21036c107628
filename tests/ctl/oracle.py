"""The meaning of a policy, written a second time from the text of the language alone.

Slow and plain on purpose: a policy is a dictionary in the shape of its file (section, name, key),
text() writes it as a file, and Oracle judges a query as `sallyctl explain --json` must.  Nothing here
knows how the engine in rules/ works; where the two differ the text decides who is wrong.
"""
import datetime
import ipaddress
import re
import zoneinfo

COMMANDS = ("connect", "bind", "udp-associate")
PROVEN = ("pam", "file", "gssapi", "chap")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def nets(*texts):
    return [ipaddress.ip_network(text) for text in texts]


PRIVATE = nets("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
LOOPBACK = nets("127.0.0.0/8", "::1/128")
LINK_LOCAL = nets("169.254.0.0/16", "fe80::/10")
MULTICAST = nets("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
UNSPECIFIED = nets("0.0.0.0/8", "::/128")
NOT_PUBLIC = nets("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                  "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
                  "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
                  "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16",
                  "3fff::/20")
PUBLIC6 = nets("2000::/3", "64:ff9b::/96")
NAT64, SIX_TO_FOUR, TEREDO = nets("64:ff9b::/96", "2002::/16", "2001::/32")


def within(address, networks):
    return any(address in network for network in networks)


def is_public(address):
    if within(address, NOT_PUBLIC):
        return False
    return address.version == 4 or within(address, PUBLIC6)


def is_special(address):
    """What `any` leaves out as a destination."""
    return within(address, LOOPBACK + LINK_LOCAL + MULTICAST + UNSPECIFIED)


BUILTIN = {
    "public": is_public,
    "private": lambda address: within(address, PRIVATE),
    "loopback": lambda address: within(address, LOOPBACK),
    "link-local": lambda address: within(address, LINK_LOCAL),
    "multicast": lambda address: within(address, MULTICAST),
    "unspecified": lambda address: within(address, UNSPECIFIED),
}


def canonical(text):
    """An address as the rules see it: IPv4-mapped is IPv4."""
    address = ipaddress.ip_address(text)
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def embedded(address):
    """The IPv4 address inside one of NAT64, 6to4 or Teredo; None for all others."""
    if address.version == 4:
        return None
    number = int(address)
    if address in NAT64:
        return ipaddress.IPv4Address(number & 0xffffffff)
    if address in SIX_TO_FOUR:
        return ipaddress.IPv4Address(number >> 80 & 0xffffffff)
    if address in TEREDO:
        return ipaddress.IPv4Address(number & 0xffffffff ^ 0xffffffff)
    return None


def listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def is_literal_host(text):
    return text.startswith("regex:") or "." in text


def is_network(text):
    try:
        ipaddress.ip_network(text)
        return True
    except ValueError:
        return False


def host_matches(pattern, name):
    if pattern.startswith("regex:"):
        return re.fullmatch(pattern[6:], name, re.IGNORECASE) is not None
    pattern, name = pattern.lower(), name.lower()
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    return name == pattern


def window_holds(window, instant):
    """Is the instant (aware, UTC) in `DAYS HH:MM-HH:MM ZONE`?"""
    days_text, hours, zone = window.split(" ")
    local = instant.astimezone(zoneinfo.ZoneInfo(zone))
    days = set()
    for part in days_text.split(","):
        first, _, last = part.partition("-")
        at, end = DAYS.index(first), DAYS.index(last or first)
        days.add(at)
        while at != end:
            at = (at + 1) % 7
            days.add(at)
    start, end = ((int(text[:2]) * 60 + int(text[3:])) * 60 for text in hours.split("-"))
    now = (local.hour * 60 + local.minute) * 60 + local.second
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    if start < end:
        return today in days and start <= now < end
    return (today in days and now >= start) or (yesterday in days and now < end)


class Malformed(Exception):
    pass


def destination(text):
    """`host:port` as (name or None, address or None, port)."""
    host, _, port = text.rpartition(":")
    port = int(port)
    if host.startswith("["):
        return None, canonical(host[1:-1]), port
    if host.endswith("."):
        host = host[:-1]
    try:
        return None, canonical(host), port
    except ValueError:
        pass
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", host.rpartition(".")[2]):
        raise Malformed(host)
    return host, None, port


class Oracle:
    """Judges queries under one policy; own is what self is: a list of (address, port)."""

    def __init__(self, policy, tables=None, own=()):
        self.policy, self.tables = policy, tables or {}
        self.own = [(ipaddress.ip_address(address), port) for address, port in own]
        self.rules = [dict(rule, name=name) for name, rule in policy["rules"].items()]
        self.default_leads = listed(policy.get("policy", {}).get("resolves-in", "public"))
        self.flat = {}

    # What a set of values comes to, objects opened.

    def open_values(self, section, values):
        """All literals and built-in words that the values of a key or object lead to."""
        key = (section, tuple(values))
        if key not in self.flat:
            self.flat[key] = list(self.each_value(section, values))
        return self.flat[key]

    def each_value(self, section, values):
        for value in values:
            if value.startswith("file:"):
                yield from self.tables[value[5:]]
            elif section == "groups":
                if value.startswith("@"):
                    yield from self.each_value(section, listed(self.policy["groups"][value[1:]]))
                else:
                    yield value
            elif value in self.policy.get(section, {}):
                yield from self.each_value(section, listed(self.policy[section][value]))
            else:
                yield value

    def places(self, values):
        """The values of `to` or `except` as (networks and built-in words, host patterns)."""
        key = ("places", tuple(values))
        if key not in self.flat:
            addresses, names = [], []
            for value in values:
                if value in self.policy.get("hosts", {}):
                    names += self.open_values("hosts", [value])
                elif is_network(value) or value in BUILTIN or value == "any" \
                        or value in self.policy.get("networks", {}):
                    addresses += self.open_values("networks", [value])
                else:
                    assert is_literal_host(value), value
                    names.append(value)
            self.flat[key] = addresses, names
        return self.flat[key]

    def contains(self, values, address, as_source=False):
        for value in self.open_values("networks", values):
            if value == "any":
                if as_source or not is_special(address):
                    return True
            elif value in BUILTIN:
                if BUILTIN[value](address):
                    return True
            elif address in self.network(value):
                return True
        return False

    def network(self, text):
        key = ("network", text)
        if key not in self.flat:
            self.flat[key] = ipaddress.ip_network(text)
        return self.flat[key]

    # The conditions; True, False or None where only the name is known.

    def accepted(self, rule):
        return listed(rule["auth"]) if "auth" in rule else list(PROVEN)

    def fits(self, who, fact):
        if who == "known":
            return True
        members = self.open_values("groups", [who])
        return any(fact["user"] == member or
                   (member.startswith("unix:") and member[5:] in fact["groups"])
                   for member in members)

    def who_holds(self, rule, fact):
        """True if identity is right; the word of the key that is not, otherwise."""
        if "who" not in rule and "auth" not in rule:
            return True
        who = listed(rule.get("who", "known"))
        if "anyone" in who:
            return True
        if fact["user"] is None or not any(self.fits(one, fact) for one in who):
            return "who"
        return True if fact["auth"] in self.accepted(rule) else "auth"

    def service_holds(self, rule, fact):
        if "service" not in rule:
            return True
        protocol = "udp" if fact["command"] == "udp-associate" else "tcp"
        for value in self.open_values("services", listed(rule["service"])):
            kind, _, ports = value.partition("/")
            first, _, last = ports.partition("-")
            if kind == protocol and int(first) <= fact["port"] <= int(last or first):
                return True
        return False

    def command_holds(self, rule, fact):
        default = COMMANDS if rule["action"] == "deny" else ("connect", "udp-associate")
        return fact["command"] in listed(rule.get("command", default))

    def when_holds(self, rule, fact):
        if "when" not in rule:
            return True
        return any(window_holds(window, fact["at"])
                   for window in self.open_values("times", listed(rule["when"])))

    def to_holds(self, rule, fact, name, address):
        """`to` with `resolves-in`: True, False, None, or a word about a name that fits."""
        if "to" not in rule:
            return True
        addresses, names = self.places(listed(rule["to"]))
        by_name = name is not None and any(host_matches(one, name) for one in names)
        if by_name and rule["action"] == "deny":
            return True
        if address is None:
            return "leads where" if by_name else None if addresses else False
        if self.contains(addresses, address) or self.anybody(addresses, fact, name, address):
            return True
        if not by_name:
            return False
        leads = listed(rule["resolves-in"]) if "resolves-in" in rule else self.default_leads
        return True if self.contains(leads, address) else "resolves-in"

    @staticmethod
    def anybody(addresses, fact, name, address):
        """BIND for any peer, asked for as 0.0.0.0 or ::, is within `any`."""
        return fact["command"] == "bind" and name is None and int(address) == 0 \
            and "any" in addresses

    def except_holds(self, rule, fact, name, address):
        if "except" not in rule:
            return True
        addresses, names = self.places(listed(rule["except"]))
        if name is not None and any(host_matches(one, name) for one in names):
            return False
        if address is None:
            return None if addresses else True
        return not (self.contains(addresses, address)
                    or self.anybody(addresses, fact, name, address))

    def conditions(self, rule, fact, name, address):
        """(key, True | False | None) for each condition, in the order of the table of keys."""
        who = self.who_holds(rule, fact)
        yield "who", who != "who"
        yield "auth", who != "auth"
        yield "from", "from" not in rule or self.contains(listed(rule["from"]), fact["from"], True)
        yield "from-except", "from-except" not in rule \
            or not self.contains(listed(rule["from-except"]), fact["from"], True)
        yield "listener", "listener" not in rule or fact["listener"] in listed(rule["listener"])
        to = self.to_holds(rule, fact, name, address)
        yield "to", True if isinstance(to, str) else to
        yield "except", self.except_holds(rule, fact, name, address)
        yield "service", self.service_holds(rule, fact)
        yield "command", self.command_holds(rule, fact)
        yield "version", "version" not in rule or fact["version"] in listed(rule["version"])
        yield "when", self.when_holds(rule, fact)
        yield "resolves-in", {"resolves-in": False, "leads where": None}.get(to, True)
        day = fact["at"].date().isoformat()
        yield "since", "since" not in rule or rule["since"] <= day
        yield "expires", "expires" not in rule or day <= rule["expires"]

    def failures(self, rule, fact, name, address):
        return [key for key, held in self.conditions(rule, fact, name, address) if held is False]

    def holds(self, rule, fact, name, address):
        """True, False or None."""
        answers = [held for _, held in self.conditions(rule, fact, name, address)]
        return False if False in answers else None if None in answers else True

    # Verdicts.

    def is_self(self, address, port):
        # 0.0.0.0 and :: lead to the loopback addresses, whichever the family.
        there = [address] if int(address) else \
            [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
        return any(port == own_port and (one == own or self.wild(own, one))
                   for own, own_port in self.own for one in there)

    @staticmethod
    def wild(own, address):
        """A wildcard listener is at every local address; the tests know only loopback."""
        return int(own) == 0 and within(address, LOOPBACK)

    def judge_one(self, fact, name, address):
        """One address by itself, without what is embedded: (verdict, rule, reason)."""
        if self.is_self(address, fact["port"]):
            return "deny", "builtin:self", "self"
        reason = "default"
        for rule in self.rules:
            if rule.get("mode") == "dry-run":
                continue
            failed = self.failures(rule, fact, name, address)
            if not failed:
                return rule["action"], rule["name"], "rule"
            if failed == ["resolves-in"]:
                reason = "resolves-in"
        return "deny", "policy-default", reason

    def judge(self, fact, name, address):
        outer = self.judge_one(fact, name, address)
        inner = embedded(address)
        if outer[0] == "deny" or inner is None:
            return outer, address
        second = self.judge_one(fact, name, inner)
        return (second, inner) if second[0] == "deny" else (outer, address)

    def first_stage(self, fact, name):
        """By the name alone: the rule that decides, or None if addresses are needed."""
        for rule in self.rules:
            if rule.get("mode") == "dry-run":
                continue
            held = self.holds(rule, fact, name, None)
            if rule["action"] == "allow" and held is not False:
                return None
            if held:
                return rule["name"], "rule"
        return "policy-default", "default"

    def passed(self, fact, name, address, verdict, stop):
        """Rules passed over before the deciding one, each with all it could be passed over for."""
        out = []
        for rule in self.rules if stop != "builtin:self" else []:
            answers = list(self.conditions(rule, fact, name, address))
            failed = [key for key, held in answers if held is False]
            unknown = [key for key, held in answers if held is None]
            dry = rule.get("mode") == "dry-run"
            if rule["name"] == stop or not (failed or unknown or dry):
                break
            if not failed and unknown and not dry and verdict == "need":
                continue
            out.append((rule["name"], failed or (["mode"] if dry else unknown)))
        return out

    def explain(self, query):
        """The answer to a query in the words of `--batch`; passed is (rule, all that failed)."""
        fact = {
            "from": canonical(query["from"]), "user": query.get("user"),
            "auth": query.get("auth"), "groups": query.get("groups") or [],
            "command": query.get("command") or "connect", "version": query.get("version") or 5,
            "listener": query.get("listener"), "at": instant(query["at"]),
        }
        name, address, fact["port"] = destination(query["to"])
        out = {"verdict": None, "rule": None, "reason": None, "needs": [], "addresses": []}
        if name is None:
            (out["verdict"], out["rule"], out["reason"]), judged = self.judge(fact, None, address)
            out["passed"] = self.passed(fact, None, judged, out["verdict"], out["rule"])
            return out
        early = self.first_stage(fact, name)
        if early is not None:
            out["verdict"], (out["rule"], out["reason"]) = "deny", early
            out["passed"] = self.passed(fact, name, None, out["verdict"], out["rule"])
            return out
        answers = query.get("resolves")
        if answers is None:
            out.update(verdict="need", reason="undetermined", needs=["addresses"])
            out["passed"] = self.passed(fact, name, None, out["verdict"], None)
            return out
        if not answers:
            out.update(verdict="deny", rule="policy-default", reason="undetermined")
            out["passed"] = self.passed(fact, name, None, out["verdict"], None)
            return out
        judged = [(canonical(text), *self.judge(fact, name, canonical(text))) for text in answers]
        out["addresses"] = [{"address": address_text(answer), "verdict": verdict[0],
                             "rule": verdict[1]} for answer, verdict, _ in judged]
        first = next((one for one in judged if one[1][0] == "allow"), judged[0])
        (out["verdict"], out["rule"], out["reason"]) = first[1]
        out["passed"] = self.passed(fact, name, first[2], out["verdict"],
                                     out["rule"])
        return out


def address_text(address):
    return str(address)


def instant(text):
    """`YYYY-MM-DD HH:MM[:SS] [ZONE]` or RFC 3339 as an aware time in UTC."""
    if text[10] == "T":
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) \
            .astimezone(datetime.timezone.utc)
    day, clock, *zone = text.split(" ")
    local = datetime.datetime.fromisoformat(f"{day} {clock}")
    return local.replace(tzinfo=zoneinfo.ZoneInfo(zone[0] if zone else "UTC")) \
        .astimezone(datetime.timezone.utc)


# A policy as a file.

def quoted(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def value_text(value):
    if isinstance(value, dict):
        return "{ " + "; ".join(f"{key} = {value_text(one)}" for key, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(quoted(one) for one in value) + " ]"
    return quoted(value)


def text(policy, rules_as_list=False):
    """The policy in the form of its file."""
    out = []
    for section, members in policy.items():
        as_list = rules_as_list and section == "rules"
        out.append(f"{section}: {'(' if as_list else '{'}")
        lines = []
        for name, value in members.items():
            if as_list:
                lines.append("  " + value_text({"name": name, **value}))
            elif isinstance(value, dict):
                lines.append(f"  {name}: {value_text(value)}")
            else:
                lines.append(f"  {name} = {value_text(value)}")
        out.append((",\n" if as_list else "\n").join(lines))
        out.append(")" if as_list else "}")
    return "\n".join(out) + "\n"

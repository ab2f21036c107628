"""Random policies and queries for the oracle: small worlds, values at and beside every border."""
import datetime
import ipaddress
import random
import zoneinfo

import oracle

SPECIAL = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
           "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
           "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "0.0.0.0/8",
           "255.255.255.255/32", "2000::/3", "64:ff9b::/96", "2001::/23", "2001::/32",
           "2001:db8::/32", "2002::/16", "3fff::/20", "fc00::/7", "fe80::/10", "ff00::/8",
           "::1/128", "::/128"]
PREFIXES = ["10.20.0.0/16", "10.20.1.0/24", "10.20.1.128/25", "10.20.1.7/32", "10.20.1.6/31",
            "8.0.0.0/7", "8.8.8.0/24", "8.8.8.8", "203.0.113.64/26", "0.0.0.0/0", "0.0.0.0/1",
            "2001:db8:20::/48", "2001:db8:20::7", "2600::/16", "2600:1::/32", "::/0", "2002::/16",
            "2001::/32", "64:ff9b::/96", "64:ff9b::808:808", "64:ff9b::a14:100/120",
            "2002:a14:107::/48", "2002:808:808::1", "2001::f7f7:f7f7", "127.0.0.1", "127.0.0.0/8",
            "169.254.169.254", "fe80::/64", "224.0.0.1", "::1", "::", "0.0.0.0", "fd00::/8",
            "240.0.0.0/5", "255.255.255.255", "0.0.0.0/8"]
WORDS = ["public", "private", "loopback", "link-local", "multicast", "unspecified"]
PATTERNS = ["a.example", "*.a.example", ".a.example", "b.a.example", "*.b.a.example",
            ".b.a.example", "c.example", "*.c.example", ".example", "*.example", "xn--bcher-kva.example",
            "regex:^[ab][.]a[.]example$", "regex:b.*", "regex:a|a[.]example", "regex:intranet",
            "regex:.*[.]example", "regex:.", "regex:[^.]+", "A.Example", "*.B.A.EXAMPLE",
            "regex:C[0-9]+[.]EXAMPLE", "x_y.example", "regex:^$|x"]
NAMES = ["a.example", "b.a.example", "c.b.a.example", "aa.example", "xa.example", "example",
         "c.example", "c1.example", "d.c.example", "intranet", "a", "b", "A.EXAMPLE", "B.a.Example.",
         "a.example.", "x_y.example", "xn--bcher-kva.example", "a.example.net",
         "z", "e", "not.known", "a-b.a.example", "x"]
SERVICES = ["tcp/80", "tcp/443", "tcp/80-89", "tcp/1-1023", "udp/53", "udp/53-80", "tcp/65535",
            "tcp/1024-65535", "udp/1-65535", "tcp/1", "udp/443", "tcp/1-65535"]
PORTS = [0, 1, 2, 52, 53, 54, 79, 80, 81, 89, 90, 442, 443, 444, 1023, 1024, 1080, 9108, 65534, 65535]
USERS = ["ann", "bob", "Ann", "carl", "svc-edi"]
UNIX = ["staff", "wheel", "Staff"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
         "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "Pacific/Chatham",
         "Asia/Kathmandu", "Europe/Dublin", "America/Sao_Paulo"]
CLOCKS = ["00:00", "00:01", "01:00", "01:30", "02:00", "02:30", "03:00", "07:00", "12:00", "19:00",
          "22:00", "23:59"]
LISTENERS = ["inside", "outside"]


class Random(random.Random):
    def some(self, pool, most=3):
        return self.sample(pool, self.randint(1, min(most, len(pool))))

    def maybe(self, chance):
        return self.random() < chance


def days(rng):
    parts = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        first, last = rng.choice(oracle.DAYS), rng.choice(oracle.DAYS)
        parts.append(first if first == last or rng.maybe(.4) else f"{first}-{last}")
    return ",".join(parts)


def window(rng):
    start = rng.choice(CLOCKS)
    end = rng.choice([clock for clock in CLOCKS + ["24:00"]
                      if clock != start and (start, clock) != ("00:00", "00:00")])
    return f"{days(rng)} {start}-{end} {rng.choice(ZONES)}"


def value_or_list(rng, values):
    return values[0] if len(values) == 1 and rng.maybe(.5) else values


def networks(rng, objects, builtin=True):
    pool = PREFIXES + list(objects) * 4 + (WORDS * 3 if builtin else [])
    return list(dict.fromkeys(rng.some(pool)))


class World:
    """One policy, its tables, and queries that fit it."""

    def __init__(self, seed, settings=False):
        self.rng = rng = Random(seed)
        self.settings, self.tables = settings, {}
        self.prefixes = rng.some(PREFIXES, 8) + rng.some(SPECIAL, 4)
        policy = self.policy = {}
        if rng.maybe(.5):
            policy["policy"] = {"name": "p"}
            if rng.maybe(.6):
                policy["policy"]["resolves-in"] = value_or_list(rng, self.leads(["any"]))
        for section, fill in (("networks", self.fill_networks), ("hosts", self.fill_hosts),
                              ("services", self.fill_services), ("groups", self.fill_groups),
                              ("times", self.fill_times)):
            policy[section] = {}
            fill(policy[section])
        policy["rules"] = {}
        for number in range(rng.choice([1, 2, 4, 8, 12, 40])):
            policy["rules"][f"r{number}"] = self.rule()
        for section in ("networks", "hosts", "services", "groups", "times"):
            if not policy[section]:
                del policy[section]
        self.clocks = self.moments()

    def leads(self, extra=()):
        rng = self.rng
        return list(dict.fromkeys(rng.some(self.prefixes + list(extra) * 4 + WORDS * 2)))

    def fill_networks(self, out):
        rng = self.rng
        for number in range(rng.randint(0, 4)):
            out[f"net{number}"] = list(dict.fromkeys(
                rng.some(self.prefixes + list(out) * 3 + WORDS)))
        if rng.maybe(.3):
            self.tables["net.txt"] = rng.some(self.prefixes, 6)
            out["net-table"] = ["file:net.txt"]

    def fill_hosts(self, out):
        rng = self.rng
        for number in range(rng.randint(0, 3)):
            out[f"host{number}"] = list(dict.fromkeys(rng.some(PATTERNS + list(out) * 3)))
        if rng.maybe(.3):
            plain = [one for one in PATTERNS if not one.startswith("regex:")] + ["intranet", "z"]
            self.tables["host.txt"] = rng.some(plain, 6)
            out["host-table"] = ["file:host.txt"]

    def fill_services(self, out):
        for number in range(self.rng.randint(0, 3)):
            out[f"svc{number}"] = list(dict.fromkeys(self.rng.some(SERVICES + list(out) * 3)))

    def fill_groups(self, out):
        rng = self.rng
        for number in range(rng.randint(0, 3)):
            pool = USERS + ["unix:" + one for one in UNIX] + ["@" + one for one in out] * 3
            out[f"grp{number}"] = list(dict.fromkeys(rng.some(pool)))
        if rng.maybe(.3):
            self.tables["user.txt"] = rng.some(USERS, 3)
            out["user-table"] = ["file:user.txt"]

    def fill_times(self, out):
        for number in range(self.rng.randint(0, 2)):
            pool = [window(self.rng) for _ in range(2)] + list(out) * 3
            out[f"time{number}"] = list(dict.fromkeys(self.rng.some(pool)))

    def sources(self, extra):
        return value_or_list(self.rng, self.leads_or_objects(extra))

    def leads_or_objects(self, extra):
        rng = self.rng
        pool = self.prefixes + list(self.policy["networks"]) * 3 + WORDS + list(extra) * 6
        return list(dict.fromkeys(rng.some(pool)))

    def places(self):
        rng = self.rng
        values = []
        if rng.maybe(.7):
            values += self.leads_or_objects(["any"])
        if not values or rng.maybe(.5):
            values += rng.some(PATTERNS + list(self.policy["hosts"]) * 5)
        # A literal in a rule needs a dot or a mark; PATTERNS have one.
        return value_or_list(rng, list(dict.fromkeys(values)))

    def rule(self):
        rng = self.rng
        allow = rng.maybe(.65)
        rule = {"action": "allow" if allow else "deny"}
        shape = rng.random()
        if shape < .35:
            groups = ["@" + one for one in self.policy["groups"]]
            pool = USERS + groups * 3 + ["known"] * 4
            who = list(dict.fromkeys(rng.some(pool)))
            rule["who"] = value_or_list(rng, who)
        elif shape < .4:
            rule["who"] = "anyone"
        if rule.get("who") != "anyone" and rng.maybe(.4 if "who" in rule else .08):
            rule["auth"] = value_or_list(rng, rng.some(list(oracle.PROVEN) + ["ident", "userid"]))
        if rng.maybe(.3):
            rule["from"] = self.sources(["any"])
        if rng.maybe(.15):
            rule["from-except"] = self.sources([])
        if self.settings and rng.maybe(.2):
            rule["listener"] = value_or_list(rng, rng.some(LISTENERS))
        if allow or rng.maybe(.75):
            rule["to"] = self.places()
        if rng.maybe(.25):
            rule["except"] = self.places()
        if rng.maybe(.3):
            rule["service"] = value_or_list(
                rng, list(dict.fromkeys(rng.some(SERVICES + list(self.policy["services"]) * 4))))
        if rng.maybe(.25):
            rule["command"] = value_or_list(rng, rng.some(list(oracle.COMMANDS)))
        if rng.maybe(.12):
            rule["version"] = value_or_list(rng, rng.some([4, 5]))
        if rng.maybe(.2):
            rule["when"] = value_or_list(
                rng, list(dict.fromkeys([window(rng)] + rng.some(list(self.policy["times"]))
                                        if self.policy["times"] else [window(rng)])))
        if allow and rng.maybe(.5):
            rule["resolves-in"] = value_or_list(rng, self.leads_or_objects(["any"]))
        if rng.maybe(.15):
            rule["mode"] = rng.choice(["dry-run", "dry-run", "enforce"])
        if rng.maybe(.1):
            rule["since"] = rng.choice(["2026-03-29", "2026-03-30", "2026-11-01", "2025-12-31"])
        if rng.maybe(.1):
            rule["expires"] = rng.choice(["2026-11-01", "2026-11-02", "2027-01-01"])
        if allow and self.settings:
            rule["open-proxy"] = True
        return rule

    def moments(self):
        """Instants beside every border: dates, changes of the clock, starts and ends of windows."""
        out = []
        for base in ("2025-12-31", "2026-03-29", "2026-03-30", "2026-11-01", "2026-11-02",
                     "2027-01-01", "2026-04-05", "2026-10-04", "2026-10-25", "2026-03-08",
                     "2026-09-27", "2026-02-15", "2026-03-22", "2038-03-28", "2039-10-30", "2045-07-01"):
            start = datetime.datetime.fromisoformat(base + "T00:00:00+00:00")
            for shift in (0, 1, 3600, 5400, 7200, 10800, -1, -3600):
                out.append(start + datetime.timedelta(seconds=shift))
        for rule in self.policy["rules"].values():
            flat = oracle.Oracle(self.policy).open_values("times", oracle.listed(rule.get("when", [])))
            for one in flat:
                _, hours, zone = one.split(" ")
                for clock in hours.replace("24:00", "00:00").split("-"):
                    day = self.rng.choice(["2026-03-29", "2026-10-25", "2026-11-01", "2026-07-08",
                                           "2026-04-05", "2026-10-04", "2040-01-18", "2041-07-21"])
                    at = datetime.datetime.fromisoformat(f"{day} {clock}") \
                        .replace(tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(datetime.timezone.utc)
                    for week in (0, self.rng.randint(1, 6)):
                        for shift in (-1, 0, 1, 3600, -3600):
                            out.append(at + datetime.timedelta(days=week, seconds=shift))
        return out

    def address(self):
        """At or beside a border of a range that the policy or the language knows."""
        rng = self.rng
        range_ = ipaddress.ip_network(rng.choice(self.prefixes * 2 + SPECIAL + PREFIXES[:8]))
        number = rng.choice([int(range_[0]), int(range_[-1]), int(range_[0]) - 1,
                             int(range_[-1]) + 1, int(range_[0]) + 1,
                             rng.randint(int(range_[0]), int(range_[-1]))])
        number %= 1 << (32 if range_.version == 4 else 128)
        address = (ipaddress.IPv4Address if range_.version == 4 else ipaddress.IPv6Address)(number)
        if address.version == 4 and rng.maybe(.25):
            number = int(address)
            return str(rng.choice([
                ipaddress.IPv6Address(0xffff << 32 | number),
                ipaddress.IPv6Address((0x64ff9b << 96) | number),
                ipaddress.IPv6Address((0x2002 << 112) | number << 80 | rng.getrandbits(80)),
                ipaddress.IPv6Address((0x20010000 << 96) | rng.getrandbits(32) << 64
                                      | number ^ 0xffffffff)]))
        return str(address)

    def when(self):
        rng = self.rng
        at = rng.choice(self.clocks)
        shape = rng.random()
        if shape < .4:
            return at.strftime("%Y-%m-%dT%H:%M:%SZ")
        if shape < .6:
            zone = datetime.timezone(datetime.timedelta(minutes=rng.choice([-720, -210, 60, 345, 840])))
            return at.astimezone(zone).isoformat()
        if shape < .8:
            return at.strftime("%Y-%m-%d %H:%M:%S")
        zone = rng.choice(ZONES)
        local = at.astimezone(zoneinfo.ZoneInfo(zone))
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            return at.strftime("%Y-%m-%d %H:%M:%S")
        return local.strftime("%Y-%m-%d %H:%M:%S ") + zone

    def query(self):
        rng = self.rng
        out = {"from": self.address(), "at": self.when()}
        port = rng.choice(PORTS)
        if rng.maybe(.5):
            out["to"] = f"{rng.choice(NAMES)}:{port}"
            if rng.maybe(.85):
                out["resolves"] = [self.address() for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 5]))]
        else:
            address = self.address()
            if rng.maybe(.1):
                address = rng.choice(["0.0.0.0", "::", "127.0.0.1", "::1", "10.20.0.1", "::ffff:0.0.0.0"])
            out["to"] = f"[{address}]:{port}" if ":" in address else \
                f"{address}{'.' if rng.maybe(.1) else ''}:{port}"
        if rng.maybe(.6):
            out["user"] = rng.choice(USERS)
            out["auth"] = rng.choice(list(oracle.PROVEN) + ["ident", "userid"])
            if rng.maybe(.6):
                out["groups"] = rng.some(UNIX, 2)
        elif rng.maybe(.1):
            out["groups"] = rng.some(UNIX, 2)
        if rng.maybe(.5):
            out["command"] = rng.choice(oracle.COMMANDS)
        if rng.maybe(.3):
            out["version"] = rng.choice([4, 5])
        if self.settings and rng.maybe(.7):
            out["listener"] = rng.choice(LISTENERS)
        if rng.maybe(.05):
            out[rng.choice(["user", "auth", "groups", "command", "version", "listener"])] = None
            if ("user" in out and out["user"] is None) or ("auth" in out and out["auth"] is None):
                out["user"] = out["auth"] = None
                out.pop("groups", None)
        return out

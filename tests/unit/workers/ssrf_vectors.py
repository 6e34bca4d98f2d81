"""Ways to make a server call its own network, and what must still be reachable. Driven by test_outbound_ssrf.

Put together from the IANA special-purpose registries, the spellings inet_aton(3) takes, the documented metadata
addresses of the clouds, and the parser differences that published attacks on webhooks and image fetchers use.
"""

PUBLIC_V4 = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
OTHER_V4 = "151.101.1.69"

# Addresses nobody outside may choose for us, as a name may resolve to them and as a URL may name them.
INWARD_V4 = [
    "0.0.0.0", "0.0.0.1", "0.255.255.255",
    "10.0.0.0", "10.0.0.1", "10.96.0.1", "10.255.255.255",
    "100.64.0.0", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.0", "127.0.0.1", "127.0.0.53", "127.0.1.1", "127.127.127.127", "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0", "169.254.0.23", "169.254.42.42", "169.254.169.123", "169.254.169.253", "169.254.169.254",
    "169.254.170.2", "169.254.170.23", "169.254.255.255",
    "172.16.0.0", "172.16.0.1", "172.17.0.1", "172.20.10.1", "172.31.255.255",
    "192.0.0.0", "192.0.0.8", "192.0.0.170", "192.0.0.192", "192.0.0.255",
    "192.0.2.0", "192.0.2.1", "192.0.2.255",
    "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.175.48.1",
    "192.168.0.0", "192.168.0.1", "192.168.1.1", "192.168.99.100", "192.168.255.255",
    "198.18.0.0", "198.18.0.1", "198.19.255.255",
    "198.51.100.0", "198.51.100.1", "203.0.113.0", "203.0.113.1", "203.0.113.255",
    "224.0.0.1", "224.0.0.251", "239.255.255.250", "239.255.255.255",
    "240.0.0.1", "250.1.2.3", "255.255.255.254", "255.255.255.255",
]  # fmt: skip

INWARD_V6 = [
    "::", "::1", "::2",
    "::127.0.0.1", "::169.254.169.254", "::93.184.215.14",
    "::ffff:0.0.0.0", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:192.168.1.1",
    "::ffff:93.184.215.14", "::ffff:7f00:1", "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1", "::ffff:0:93.184.215.14",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::93.184.215.14",
    "64:ff9b:1::1", "64:ff9b:1:ffff::10.0.0.1",
    "100::1", "100::ffff:ffff:ffff:ffff", "100:0:0:1::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1",
    "2001:10::1", "2001:20::1", "2001:30::1", "2001:1ff:ffff::1",
    "2001:db8::1", "2001:db8:ffff:ffff::1",
    "2002::1", "2002:7f00:1::1", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:5db8:d70e::1",
    "2620:4f:8000::1", "3ffe::1", "3fff::1", "3fff:fff:ffff::1",
    "4000::1", "5f00::1", "8000::1", "e000::1",
    "fc00::1", "fd00::1", "fd00:ec2::23", "fd00:ec2::254", "fd12:3456:789a:1::1", "fd20:ce::254", "fdff:ffff::1",
    "fe80::1", "fe80::a9fe:a9fe", "febf:ffff::1", "fec0::1", "feff::1",
    "ff00::1", "ff02::1", "ff02::fb", "ff05::2", "ff0e::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip

# Answers that mix what is allowed with what is not, in every order a resolver may give them.
MIXED_ANSWERS = [
    (PUBLIC_V4, "10.0.0.1"),
    ("10.0.0.1", PUBLIC_V4),
    (PUBLIC_V4, "169.254.169.254"),
    (PUBLIC_V4, "127.0.0.1", OTHER_V4),
    (PUBLIC_V6, "::1"),
    ("::1", PUBLIC_V6),
    (PUBLIC_V4, "fd00:ec2::254"),
    (PUBLIC_V6, "169.254.169.254"),
    (PUBLIC_V4, f"::ffff:{PUBLIC_V4}"),
    (PUBLIC_V4, f"64:ff9b::{PUBLIC_V4}"),
    (PUBLIC_V4, OTHER_V4, PUBLIC_V6, "0.0.0.0"),
    (PUBLIC_V4, "fe80::1%eth0"),
    (PUBLIC_V6, f"{PUBLIC_V6}%eth0"),
    (PUBLIC_V4, "not an address"),
    (),
]

# Hosts that are 127.0.0.1, 169.254.169.254 or 10.0.0.1 to some program, written into the URL.
DISGUISED_HOSTS = [
    # short, decimal, octal, hexadecimal and mixed forms of inet_aton(3)
    "127.1", "127.0.1", "127.65530", "0", "0.0", "0x0", "00", "10.1", "10.0.1", "192.168.257", "169.254.43518",
    "2130706433", "017700000001", "0x7f000001", "0x7F000001", "0X7f000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "0x7f.0.0.1",
    "0177.0.0.1", "0177.0.0.01", "0177.0x0.0.1", "00000177.0.0.1", "0000127.0.0.1", "127.0.0.01", "127.00.00.01",
    "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "0251.254.169.254", "025177524776",
    "0xa9.254.0251.0xfe", "169.254.0xa9fe", "4294967295", "0xffffffff", "037777777777", "167772161", "0xa000001",
    # numbers that overflow to it in careless parsers
    "4294967296", "6425673729", "127.0.0.256", "256.0.0.1", "383.0.0.1", "425.510.425.510", "0x17f000001", "127.0.0.1.",
    "127.0.0.1..", "127..0.0.1", ".127.0.0.1", "127.0.0.1.0", "0x", "0x.0x.0x.0x", "1.0x",
    # other scripts: full-width and circled digits, dots of other scripts, invisible characters
    "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "127\uff0e0\uff0e0\uff0e1", "127\uff610\uff610\uff611",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\u0661\u0662\u0667.0.0.1", "127.0.0.1\u200b", "127\u200d.0.0.1",
    "127.0.0.\u00b9", "127\u00ad.0.0.1", "\u202e127.0.0.1", "\u216ekalhost", "loc\u0430lhost\u3002localhost",
    "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "example\u2024com", "127.0.0.1\uff0fhooks.example.com", "hooks\uff05.example.com", "\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1",
    # names that IDNA would fold into others
    "\uff48ooks.example.com", "hooks.ex\uff41mple.com", "fa\u00df.example", "\u212aelvin.example",
    "10\u30020\u30020\u30021.example.com", "a\u3002b.example.com",
    # brackets and zones
    "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::1]", "[::0001]", "[::1%25lo]", "[fe80::1%25eth0]", "[fe80::1%eth0]",
    "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[::ffff:0x7f.1]", "[::ffff:0177.0.0.1]", "[::ffff:127.1]", "[127.0.0.1]", "[localhost]", "[v1.127.0.0.1]", "[::1",
    "::1", "[[::1]]",
    "[::1]a", "a[::1]", "[]", "[:]", "[::%31]", "[fd00:ec2::254]", "[FD00:EC2:0::254]", "[2002:7f00:1::]", "[::1].",
    "[::1]:443:443",
    # names of this machine and of local networks
    "localhost", "LOCALHOST", "LocalHost", "localhost.", "a.localhost", "127.0.0.1.localhost", "localhost.localdomain",
    "ip6-localhost", "ip6-loopback", "broadcasthost", "metadata", "instance-data", "kubernetes", "postgres", "redis", "wpad",
    "metadata.google.internal", "METADATA.GOOGLE.INTERNAL", "metadata.google.internal.", "instance-data.ec2.internal",
    "host.docker.internal", "printer.local", "router.lan", "nas.home", "dc.corp", "nas.home.arpa", "wiki.intranet",
    "a.private",
    # percent-encoded, or no host at all
    "%31%32%37.0.0.1", "127%2e0.0.1", "127.0.0.1%00", "127.0.0.1%20", "loc%61lhost", "%6c%6f%63alhost", "", ":443", "?",
    ".", "..", "-",
    "_", "*", "$(id)", "'", "a_b.example.com", "127.0.0.1,hooks.example.com", "hooks.example.com,127.0.0.1", "127.0.0.1;x",
]  # fmt: skip

# Whole URLs: parser differences, other schemes and ports, and what would end up in the request.
TWISTED_URLS = [
    "http://hooks.example.com/", "http://hooks.example.com:443/", "HTTP://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL", "dict://127.0.0.1:11211/stat", "ldap://127.0.0.1/",
    "jar:https://hooks.example.com!/",
    "unix:///var/run/docker.sock", "javascript:alert(1)", "data:text/plain,x", "ws://hooks.example.com/",
    "url:https://127.0.0.1/",
    "//127.0.0.1/", "/relative", "hooks.example.com", "127.0.0.1:443", "https:hooks.example.com", "https:/hooks.example.com/",
    "https:///127.0.0.1/", "https:////127.0.0.1/", "https:\\\\127.0.0.1\\", "https:/\\127.0.0.1/", "https://\\127.0.0.1/",
    "https://hooks.example.com\\@127.0.0.1/", "https://127.0.0.1\\@hooks.example.com/",
    "https://hooks.example.com\\.127.0.0.1/",
    "https://hooks.example.com@127.0.0.1/", "https://127.0.0.1@hooks.example.com/", "https://a:b@hooks.example.com/",
    "https://@hooks.example.com/", "https://:@hooks.example.com/", "https://hooks.example.com:443@127.0.0.1/",
    "https://hooks.example.com%40127.0.0.1/", "https://127.0.0.1#@hooks.example.com/",
    "https://127.0.0.1?@hooks.example.com/",
    "https://hooks.example.com#@127.0.0.1/", "https://hooks.example.com/#", "https://127.0.0.1;@hooks.example.com/",
    "https://127.0.0.1/@hooks.example.com/", "https://hooks.example.com @127.0.0.1/", "https://127.0.0.1 hooks.example.com/",
    "https://127.0.0.1\thooks.example.com/", "https://127.0.0.1\n.example.com/", "https://hooks.example.com\r\n/",
    "h\nttps://127.0.0.1/",
    "\thttps://127.0.0.1/", "https://127.0.0.1/\x00", "https://127.0.0.1\x00.example.com/", "https://hooks.example.com\x00/",
    "https://hooks.example.com/\r\nX-Injected: 1", "https://hooks.example.com/ HTTP/1.1\r\nHost: 127.0.0.1",
    "https://hooks.example.com/\x7f",
    "https://hooks.example.com/\u2028", "https://hooks.example.com/\x85", "https://hooks.example.com/\ud800",
    "https://hooks.example.com:80/", "https://hooks.example.com:22/", "https://hooks.example.com:6379/",
    "https://hooks.example.com:25/",
    "https://hooks.example.com:5432/", "https://hooks.example.com:0/", "https://hooks.example.com:65979/",
    "https://hooks.example.com:-443/",
    "https://hooks.example.com:+443/", "https://hooks.example.com:443.0/", "https://hooks.example.com:00443/",
    "https://hooks.example.com:/",
    "https://hooks.example.com:443:22/", "https://hooks.example.com: 443/", "https://hooks.example.com:0x1bb/",
    "https://hooks.example.com:4_43/",
    "https://hooks.example.com:\uff14\uff14\uff13/", "https://hooks.example.com:443\\@127.0.0.1:22/",
    "https://127.0.0.1:443/",
    "https://127.0.0.1:8443/", "https://[::1]:443/", "https://[::1]:22/", "https://hooks.example.com/" + "a" * 2048, "",
    " ", "https://", "https:// /", "https://hooks.example.com\u3000/", "https://hooks.example.com\uff1a443@127.0.0.1/",
    "https://hooks\uff20127.0.0.1/", "https://hooks.example.com\uff03@127.0.0.1/",
    "https://hooks.example.com\u2100127.0.0.1/",
]  # fmt: skip

# Controls: these are connected to, at the address given, so that the tests cannot pass by refusing everything.
REACHABLE_URLS = [
    ("https://hooks.example.com/", PUBLIC_V4, 443),
    ("https://hooks.example.com:8443/a/b?c=d", PUBLIC_V4, 8443),
    ("HTTPS://HOOKS.EXAMPLE.COM/", PUBLIC_V4, 443),
    ("https://b\u00fccher.example/", PUBLIC_V4, 443),
    ("https://xn--bcher-kva.example/", PUBLIC_V4, 443),
    ("https://127-0-0-1.example.com/", PUBLIC_V4, 443),
    ("https://127.0.0.1.example.com/", PUBLIC_V4, 443),
    ("https://localhost.example.com/", PUBLIC_V4, 443),
    ("https://internal.example.com/", PUBLIC_V4, 443),
    ("https://0x7f.example/", PUBLIC_V4, 443),
    ("https://a.b.c.d.e.f.example.com/?url=https://127.0.0.1/", PUBLIC_V4, 443),
    ("https://hooks.example.com/@127.0.0.1/", PUBLIC_V4, 443),
    ("https://hooks.example.com/127.0.0.1:22", PUBLIC_V4, 443),
    ("https://1.1.1.1/", "1.1.1.1", 443),
    ("https://9.9.9.9:8443/", "9.9.9.9", 8443),
    ("https://[2606:4700:4700::1111]/", "2606:4700:4700::1111", 443),
    ("https://[2606:4700:4700:0:0:0:0:1111]:8443/", "2606:4700:4700::1111", 8443),
]

REACHABLE_ANSWERS = [
    "1.0.0.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "126.1.1.1", "128.0.0.1",
    "168.63.129.17", "169.253.1.1", "172.15.1.1", "172.32.0.1", "192.0.1.1", "192.167.1.1", "192.169.1.1", "198.17.1.1",
    "198.20.0.1", "203.0.112.1", "223.255.255.254", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2400:cb00::1",
    "2606:4700::1", "2a00:1450::1", "2c0f:fb50::1", "3ffd::1",
]  # fmt: skip

"""The features of the benchmark: key, events and value of each. The first three are the project's own in Rust; the others are
tables of the configuration."""

BROWSE = ["app_open", "view_listings", "view_item", "search_start", "chat_inbox", "on_resume"]
LAST, COUNT = "last_action_timestamp", "actions_count"
RUST = {
    "user_last_login": ("user_id", ["login_sign_in_complete"], LAST),
    "device_last_browse": ("device_id", BROWSE, LAST),
    "user_num_posts": ("user_id", ["post_success"], COUNT),
}
OTHERS = {
    "user_last_browse": ("user_id", BROWSE, LAST),
    "user_num_views": ("user_id", ["view_item"], COUNT),
    "device_num_opens": ("device_id", ["app_open"], COUNT),
    "user_num_searches": ("user_id", ["search_start"], COUNT),
    "user_last_chat": ("user_id", ["chat_inbox"], LAST),
    "device_last_click": ("device_id", ["ad_click"], LAST),
    "user_num_clicks": ("user_id", ["ad_click", "map_move"], COUNT),
    "device_num_listings": ("device_id", ["view_listings"], COUNT),
    "user_last_post": ("user_id", ["post_success"], LAST),
}
FEATURES = {3: RUST, 12: {**RUST, **OTHERS}}


def tables():
    """The others as `[[feature]]` tables."""
    engines = {LAST: "last_action_time", COUNT: "count"}
    return "".join(f"""
[[feature]]
name = "{name}"
source = "horizontals"
engine = "{engines[value]}"
where = "event_name in ({quoted(events)})"
select = {{ id = "clean_str({key})", country = "clean_str(country)", brand = "clean_str(brand)" }}
""" for name, (key, events, value) in OTHERS.items())


def quoted(names):
    return ", ".join(f"'{name}'" for name in names)
